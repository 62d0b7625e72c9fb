/* Debian compiled libunwind.a for glibc with _FORTIFY_SOURCE: it calls this when it gives up. musl has no such function. */
#include <stdarg.h>
#include <stdio.h>

int __fprintf_chk(FILE *stream, int flag, const char *format, ...) {
    va_list arguments;
    int written;
    (void)flag;
    va_start(arguments, format);
    written = vfprintf(stream, format, arguments);
    va_end(arguments);
    return written;
}
