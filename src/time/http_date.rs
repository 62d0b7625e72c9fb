//! Dates as HTTP writes them (RFC 9110, section 5.6.7).

use super::{SECONDS_PER_DAY, UnixSeconds, civil_from_days};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl UnixSeconds {
    /// As HTTP writes it: `Sun, 22 Nov 2026 01:02:03 GMT`. For years of four digits.
    #[must_use]
    pub fn http_date(self) -> String {
        // The first of January 1970 was a Thursday.
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        let (days, seconds) = (self.0.div_euclid(SECONDS_PER_DAY), self.0.rem_euclid(SECONDS_PER_DAY));
        let (year, month, day) = civil_from_days(days);
        let named = |names: &[&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
        };
        let (weekday, month) = (named(&DAYS, days.rem_euclid(7)), named(&MONTHS, month - 1));
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// Reads any of the three forms that a recipient has to take: `Sun, 06 Nov 1994 08:49:37 GMT`, and the obsolete
    /// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`. The day of the week is not looked at. A year of two
    /// digits lies no more than fifty years ahead of `now`.
    #[must_use]
    pub fn parse_http_date(text: &str, now: Self) -> Option<Self> {
        let mut words = text.split([' ', '-']).filter(|word| !word.is_empty()).skip(1);
        let mut next = || words.next();
        let (first, second, third, fourth) = (next()?, next()?, next()?, next()?);
        let (day, month, year, time) = match (first.as_bytes().first()?, next()) {
            (b'0'..=b'9', Some("GMT")) => (first, second, third, fourth),
            (b'A'..=b'Z', None) => (second, first, fourth, third),
            _ => return None,
        };
        if next().is_some() {
            return None;
        }
        let month = MONTHS.iter().position(|name| *name == month)? + 1;
        let at = |year: &str| Self::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z"));
        if year.len() != 2 || !year.bytes().all(|byte| byte.is_ascii_digit()) {
            return at(year);
        }
        let (this_year, ..) = civil_from_days(now.0.div_euclid(SECONDS_PER_DAY));
        let year = this_year - this_year.rem_euclid(100) + year.parse::<i64>().ok()?;
        let is_near = |year: &i64| (this_year - 49..=this_year + 50).contains(year);
        let year = [year - 100, year, year + 100].into_iter().find(is_near)?;
        at(&format!("{year:04}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixSeconds = UnixSeconds(784_111_770);

    #[test]
    fn dates_of_http() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), // RFC 9110, section 5.6.7
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ] {
            assert_eq!(UnixSeconds(seconds).http_date(), text);
            assert_eq!(UnixSeconds::parse_http_date(text, NOW), Some(UnixSeconds(seconds)));
        }
    }

    #[test]
    fn the_obsolete_forms_are_read() {
        for text in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun Nov 06 08:49:37 1994"] {
            assert_eq!(UnixSeconds::parse_http_date(text, NOW), Some(UnixSeconds(784_111_777)), "{text}");
        }
        for (year, now, wanted) in [
            ("26", "2026", "2026"),
            ("76", "2026", "2076"),
            ("77", "2026", "1977"),
            ("01", "1999", "2001"),
            ("99", "2001", "1999"),
        ] {
            let read = |text: &str| UnixSeconds::parse_rfc3339(&text.replace("YEAR", "")).unwrap();
            let (now, wanted) = (format!("{now}-05-05T00:00:00Z"), format!("{wanted}-01-01T00:00:00Z"));
            let text = format!("Monday, 01-Jan-{year} 00:00:00 GMT");
            assert_eq!(UnixSeconds::parse_http_date(&text, read(&now)), Some(read(&wanted)), "{text} at {now}");
        }
    }

    #[test]
    fn what_is_no_date() {
        for text in [
            "",
            "Sun",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 006 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 194 08:49:37 GMT",
            "Sunday, 06-Nov-+4 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(UnixSeconds::parse_http_date(text, NOW), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_date_reads_back(seconds in 0i64..253_402_300_799, now in 0i64..253_402_300_799) {
            let at = UnixSeconds(seconds);
            prop_assert_eq!(UnixSeconds::parse_http_date(&at.http_date(), UnixSeconds(now)), Some(at));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|Sun(day)?[, -]{0,3}[0-9]{1,3}[ -]Nov[ -][0-9+]{1,5} [0-9:.+-]{0,12} GMT", now in any::<i64>()) {
            let _ = UnixSeconds::parse_http_date(&text, UnixSeconds(now));
        }
    }
}
