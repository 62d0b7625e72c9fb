//! The program that this one takes the place of, happn-app/jwt-exporter, in the same run with the same configuration. `REFERENCE`
//! names its binary; without it nothing is compared.

use super::exporter::Exporter;
use super::rivals::{curl, timed};
use super::seed::Cluster;
use super::table::Table;
use super::{complete_scrape, to_first_scrape};
use std::time::Instant;

/// It needs ten seconds to start.
const STARTS: usize = 3;
const SCRAPES: usize = 5;

pub fn beside(cluster: &Cluster, size: usize, table: &mut Table) {
    let Some(program) = std::env::var_os("REFERENCE") else { return };
    let wanted = |text| if size == 20_000 { text } else { "" };
    let (mut ours, mut theirs) = (vec![], vec![]);
    let mut reference = None;
    for _ in 0..STARTS {
        drop(reference.take());
        let begun = Instant::now();
        let started = Exporter::start_reference(&program, cluster);
        let shown = started.wait_for_reference().duration_since(begun);
        theirs.push(shown + complete_scrape(&started, size));
        reference = Some(started);
        ours.push(to_first_scrape(cluster, "", size, false));
    }
    table.times("first complete scrape", &mut ours, "the reference", &mut theirs, wanted("≤ 0.05"));

    let Some(reference) = reference else { return };
    let exporter = Exporter::start(cluster, "");
    exporter.wait_until_ready();
    for (what, header, limit) in
        [("plain scrape", "X: x", "≤ 0.04"), ("gzip scrape", "Accept-Encoding: gzip", "≤ 0.033")]
    {
        let scrape = |of: &Exporter| timed(curl(&["-H", header, &of.url()]));
        let (mut ours, mut theirs): (Vec<_>, Vec<_>) =
            (0..SCRAPES).map(|_| (scrape(&exporter), scrape(&reference))).unzip();
        table.times(what, &mut ours, "the reference", &mut theirs, wanted(limit));
    }
    table.memories("peak memory", exporter.peak(), "the reference", reference.peak(), wanted("≤ 0.0625"));
}
