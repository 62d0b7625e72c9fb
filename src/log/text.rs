//! The text format, by simplelog.

use super::{LevelFilter, escape, shown};
use ::log::{Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};
use std::io::Write;

/// Makes every message one harmless line and hands it on.
pub(super) struct TextLog<W: Write + Send + 'static> {
    level: LevelFilter,
    lines: Box<WriteLogger<W>>,
}

impl<W: Write + Send + 'static> TextLog<W> {
    pub(super) fn new(level: LevelFilter, out: W) -> Self {
        let config = ConfigBuilder::new()
            .set_time_format_rfc3339()
            .set_thread_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off)
            .build();
        Self { level, lines: WriteLogger::new(level, config, out) }
    }
}

impl<W: Write + Send + 'static> Log for TextLog<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= shown(metadata.target(), self.level)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Written out here, outside of simplelog's lock: a `Display` that panics must not poison it.
        let message = record.args().to_string();
        let message = escape(&message);
        self.lines.log(&Record::builder().metadata(record.metadata().clone()).args(format_args!("{message}")).build());
    }

    fn flush(&self) {
        self.lines.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::log::Level;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: LevelFilter, records: &[(&str, Level, &str)]) -> Vec<String> {
        let page = Page::default();
        let log = TextLog::new(level, page.clone());
        for (target, level, message) in records {
            log.log(&Record::builder().target(target).level(*level).args(format_args!("{message}")).build());
        }
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_time_level_and_message() {
        let lines = lines(LevelFilter::Info, &[("jwt_exporter::poller", Level::Info, "polled")]);
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(crate::time::UnixSeconds::parse_rfc3339(time).is_some() && time.ends_with('Z'), "{line}");
        assert_eq!(rest, "[INFO] polled");
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let forged = "key \"a\n2026-11-22T00:00:00Z [ERROR] forged\u{2028}\x1b[2J\"";
        let lines = lines(LevelFilter::Info, &[("jwt_exporter", Level::Warn, forged)]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].ends_with("key \"a\\n2026-11-22T00:00:00Z [ERROR] forged\\u{2028}\\x1b[2J\""), "{lines:?}");
    }

    #[test]
    fn what_is_below_the_level_or_not_ours_is_left_out() {
        let records = [
            ("jwt_exporter", Level::Debug, "too quiet"),
            ("ureq::unversioned", Level::Error, "Authorization: Bearer x"),
            ("prometheus", Level::Info, "chatter"),
            ("prometheus", Level::Warn, "kept"),
        ];
        let lines = lines(LevelFilter::Info, &records);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].ends_with("kept"));
        assert!(self::lines(LevelFilter::Off, &[("jwt_exporter", Level::Error, "anything")]).is_empty());
    }

    #[test]
    fn a_message_that_panics_does_not_end_the_log() {
        struct Broken;
        impl std::fmt::Display for Broken {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                panic!("on purpose")
            }
        }
        let page = Page::default();
        let log = TextLog::new(LevelFilter::Info, page.clone());
        let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            log.log(
                &Record::builder().target("jwt_exporter").level(Level::Info).args(format_args!("{Broken}")).build(),
            );
        }));
        assert!(broken.is_err());
        log.log(&Record::builder().target("jwt_exporter").level(Level::Info).args(format_args!("still here")).build());
        assert!(String::from_utf8(page.0.lock().unwrap().clone()).unwrap().contains("still here"));
    }
}
