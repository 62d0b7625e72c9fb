//! One table, in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

pub struct Table {
    text: String,
}

impl Table {
    pub fn new() -> Self {
        Self { text: "| | ours | beside it | ratio | wanted |\n| --- | --- | --- | --- | --- |\n".to_owned() }
    }

    /// A heading within the table.
    pub fn begin(&mut self, case: &str) {
        self.row(&format!("**{case}**"), "", "", "", "");
    }

    /// Medians of both, and their ratio.
    pub fn times(&mut self, what: &str, ours: &mut [Duration], rival: &str, theirs: &mut [Duration], wanted: &str) {
        let ratio = median(ours).as_secs_f64() / median(theirs).as_secs_f64();
        self.row(what, &spread(ours), &format!("{rival}: {}", spread(theirs)), &format!("{ratio:.3}"), wanted);
    }

    /// A median with nothing beside it.
    pub fn time(&mut self, what: &str, ours: &mut [Duration], wanted: &str) {
        self.row(what, &spread(ours), "", "", wanted);
    }

    pub fn memory(&mut self, what: &str, bytes: u64, wanted: &str) {
        self.row(what, &format!("{:.1} MiB", bytes as f64 / 1_048_576.0), "", "", wanted);
    }

    /// Of both, and their ratio.
    pub fn memories(&mut self, what: &str, ours: u64, rival: &str, theirs: u64, wanted: &str) {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
        let ratio = ours as f64 / theirs as f64;
        self.row(what, &mib(ours), &format!("{rival}: {}", mib(theirs)), &format!("{ratio:.3}"), wanted);
    }

    pub fn fact(&mut self, what: &str, value: &str) {
        self.row(what, value, "", "", "");
    }

    fn row(&mut self, what: &str, ours: &str, beside: &str, ratio: &str, wanted: &str) {
        eprintln!("{what}: {ours} {beside} {ratio} {wanted}");
        writeln!(self.text, "| {what} | {ours} | {beside} | {ratio} | {wanted} |").unwrap();
    }

    pub fn as_markdown(&self) -> &str {
        &self.text
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The median, and the range where there is one.
fn spread(times: &mut [Duration]) -> String {
    let middle = median(times).as_secs_f64() * 1e3;
    let (least, most) = (times[0].as_secs_f64() * 1e3, times[times.len() - 1].as_secs_f64() * 1e3);
    if times.len() < 3 { format!("{middle:.0} ms") } else { format!("{middle:.0} ms ({least:.0} to {most:.0})") }
}
