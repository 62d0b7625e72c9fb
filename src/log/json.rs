//! The JSON format: one object a line, `ts`, `level` and `msg` first, then the facts of the record.

use super::escaping::is_harmful;
use super::{LevelFilter, shown};
use crate::time::UnixSeconds;
use ::log::kv::{self, Key, Value, VisitSource, VisitValue};
use ::log::{Log, Metadata, Record};
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes each record as a line of its own, in one write.
pub(super) struct JsonLog<W: Write + Send> {
    level: LevelFilter,
    out: Mutex<W>,
}

impl<W: Write + Send> JsonLog<W> {
    pub(super) fn new(level: LevelFilter, out: W) -> Self {
        Self { level, out: Mutex::new(out) }
    }
}

impl<W: Write + Send> Log for JsonLog<W> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= shown(metadata.target(), self.level)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Made outside of the lock: a `Display` that panics, or logs, must not harm others.
            let line = line(record);
            let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        }
    }

    fn flush(&self) {
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}

/// The whole line.
pub(super) fn line(record: &Record<'_>) -> String {
    let mut object = Object { line: String::from("{"), names: Vec::new() };
    object.text("ts", &timestamp());
    object.text("level", &record.level().as_str().to_ascii_lowercase());
    object.text("msg", &record.args().to_string());
    // Only a fact that cannot be written fails, and then it alone is missing.
    let _ = record.key_values().visit(&mut object);
    object.line.push_str("}\n");
    object.line
}

/// RFC 3339 in UTC, to the millisecond.
fn timestamp() -> String {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let seconds = UnixSeconds(i64::try_from(millis / 1000).unwrap_or(i64::MAX)).to_string();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), millis % 1000)
}

/// A JSON object in the making.
struct Object {
    line: String,
    /// Of its members: each stands there once, the first one counts.
    names: Vec<String>,
}

impl Object {
    fn text(&mut self, name: &str, value: &str) {
        if self.name(name) {
            push_text(&mut self.line, value);
        }
    }

    fn name(&mut self, name: &str) -> bool {
        if self.names.iter().any(|known| known == name) {
            return false;
        }
        if !self.names.is_empty() {
            self.line.push(',');
        }
        self.names.push(name.to_owned());
        push_text(&mut self.line, name);
        self.line.push(':');
        true
    }
}

impl<'k> VisitSource<'k> for Object {
    fn visit_pair(&mut self, key: Key<'k>, value: Value<'k>) -> Result<(), kv::Error> {
        let mut text = String::new();
        value.visit(ValueText(&mut text))?;
        // A fact that is not known has no member.
        if !text.is_empty() && self.name(key.as_str()) {
            self.line.push_str(&text);
        }
        Ok(())
    }
}

/// A value as JSON; nothing for none.
struct ValueText<'a>(&'a mut String);

impl<'v> VisitValue<'v> for ValueText<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        push_text(self.0, &value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        let _ = write!(self.0, "{value}");
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        let _ = write!(self.0, "{value}");
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON has no other numbers.
        let _ = if value.is_finite() { write!(self.0, "{value}") } else { write!(self.0, "\"{value}\"") };
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        let _ = write!(self.0, "{value}");
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        push_text(self.0, value);
        Ok(())
    }
}

/// Appends a JSON string (RFC 8259, section 7). What could steer a terminal or forge a line stands there as `\u` and its number:
/// a reader of JSON gets exactly what was said, and the line itself is harmless.
fn push_text(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // All of them have up to four digits.
            c if is_harmful(c) => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::log::Level;
    use proptest::prelude::*;
    use serde_json::json;

    fn parsed(message: &str, facts: &[(&str, Value<'_>)]) -> (String, serde_json::Value) {
        let record = format_args!("{message}");
        let line = line(&Record::builder().args(record).level(Level::Warn).key_values(&facts).build());
        let value = serde_json::from_str(&line).unwrap();
        (line, value)
    }

    #[test]
    fn a_line_is_an_object_with_time_level_message_and_facts() {
        let facts = [
            ("source", Value::from("kubernetes")),
            ("retry_in", Value::from(1.5)),
            ("tries", Value::from(3)),
            ("behind", Value::from(-3)),
            ("up", Value::from(false)),
            ("status", Value::null()),
            ("shown", Value::from_debug(&[1, 2])),
            ("msg", Value::from("not the message")),
            ("tries", Value::from(4)),
            ("none", Value::from(f64::NAN)),
        ];
        let (line, mut value) = parsed("it \"fails\"\n\\", &facts);
        assert!(line.starts_with("{\"ts\":\"20") && line.ends_with("}\n"), "{line}");
        let ts = value.as_object_mut().unwrap().remove("ts").unwrap();
        let at = UnixSeconds::parse_rfc3339(ts.as_str().unwrap()).unwrap();
        assert!(UnixSeconds::now().since(at).abs() < 60, "{ts}");
        assert_eq!(
            value,
            json!({"level": "warn", "msg": "it \"fails\"\n\\", "source": "kubernetes", "retry_in": 1.5, "tries": 3,
                "behind": -3, "up": false, "shown": "[1, 2]", "none": "NaN"})
        );
    }

    #[test]
    fn what_is_below_the_level_or_not_ours_is_left_out() {
        let log = JsonLog::new(LevelFilter::Info, Vec::new());
        for (target, level) in [
            ("jwt_exporter", Level::Debug),
            ("ureq::x", Level::Error),
            ("prometheus", Level::Warn),
            ("jwt_exporter::a", Level::Info),
        ] {
            log.log(&Record::builder().target(target).level(level).args(format_args!("{target}")).build());
        }
        let text = String::from_utf8(log.out.into_inner().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("\"prometheus\"") && text.contains("\"jwt_exporter::a\""), "{text}");
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_one_harmless_line_that_holds_it(
            message in any::<String>(),
            facts in proptest::collection::btree_map("[a-z_]{4,9}|\\PC{4,9}", any::<String>(), 0..5),
            harmful in "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{2028}\u{2029}\u{200e}\u{61c}\"\\\\🙂]{0,9}",
        ) {
            let message = message + &harmful;
            let pairs: Vec<(&str, Value<'_>)> =
                facts.iter().map(|(name, value)| (name.as_str(), Value::from(value.as_str()))).collect();
            let (line, value) = parsed(&message, &pairs);
            let line = line.strip_suffix('\n').unwrap();
            prop_assert!(!line.chars().any(is_harmful), "{}", line);
            prop_assert_eq!(&value["msg"], &json!(message));
            for (name, text) in facts.iter().filter(|(name, _)| *name != "level") {
                prop_assert_eq!(&value[name], &json!(text));
            }
        }
    }
}
