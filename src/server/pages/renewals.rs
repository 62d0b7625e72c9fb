//! The tokens that are renewed here: where there are any, how that goes.

use super::html::{grouped, push_text, text};
use crate::metrics::RenewalStatus;
use crate::time::{UnixSeconds, date, from_now};
use std::fmt::{Result, Write as _};

/// Renewals beyond these are counted.
const MOST_RENEWALS: usize = 100;

/// Those that fail come first.
pub(super) fn section(page: &mut String, renewals: &[RenewalStatus], now: UnixSeconds) -> Result {
    if renewals.is_empty() {
        return Ok(());
    }
    page.push_str(
        r#"<section aria-labelledby="renewals">
<h2 id="renewals">Renewals</h2>
<table role="table">
<caption>Tokens that are renewed before they expire, and how that goes</caption>
<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Token</th><th role="columnheader" scope="col">State</th><th role="columnheader" scope="col">Last success</th><th role="columnheader" scope="col">Next try</th></tr></thead>
<tbody role="rowgroup">
"#,
    );
    let (failing, other): (Vec<_>, Vec<_>) = renewals.iter().partition(|one| one.failure.is_some());
    for one in failing.into_iter().chain(other).take(MOST_RENEWALS) {
        write!(page, r#"<tr role="row"><th role="rowheader" scope="row">{}</th>"#, text(&one.target))?;
        state(page, one);
        when(page, "Last success", one.last_success, "none since the start", now)?;
        // What is due is under way.
        when(page, "Next try", one.next.map(|at| at.max(now)), "none", now)?;
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
    let more = renewals.len().saturating_sub(MOST_RENEWALS);
    if more > 0 {
        writeln!(page, "<p class=\"note\">And {} more, as the metrics show.</p>", grouped(more))?;
    }
    page.push_str("</section>\n");
    Ok(())
}

/// Works or not; and if not, why.
fn state(page: &mut String, one: &RenewalStatus) {
    let (class, words) = match (&one.failure, one.next) {
        (Some(_), _) => ("expired", "Failed"),
        (None, None) => ("none", "Nothing to do"),
        (None, Some(_)) => ("valid", "Well"),
    };
    for part in ["<td role=\"cell\" class=\"", class, "\"><span class=\"state\">", words, "</span>"] {
        page.push_str(part);
    }
    if let Some(failure) = &one.failure {
        page.push_str(" <span class=\"why\">");
        push_text(page, failure);
        page.push_str("</span>");
    }
    page.push_str("</td>");
}

fn when(page: &mut String, label: &str, at: Option<UnixSeconds>, never: &str, now: UnixSeconds) -> Result {
    write!(page, r#"<td role="cell"><span class="label">{label}</span>"#)?;
    match at {
        Some(at) => write!(page, r#"{} <time datetime="{at}">{}</time></td>"#, from_now(at, now), date(at)),
        None => write!(page, "{never}</td>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_321_800);

    fn one(target: &str, failure: Option<&str>) -> RenewalStatus {
        let status = RenewalStatus::new(target.to_owned(), String::new(), false);
        let (last_success, next) = (Some(NOW.plus(-7_200)), Some(NOW.plus(600)));
        RenewalStatus { failure: failure.map(str::to_owned), last_success, next, ..status }
    }

    fn shown(renewals: &[RenewalStatus]) -> String {
        let mut page = String::new();
        section(&mut page, renewals, NOW).unwrap();
        page
    }

    #[test]
    fn without_renewals_there_is_no_section() {
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn what_fails_comes_first_with_its_reason() {
        let page = shown(&[one("a/b (key c)", None), one("/<i>", Some("status 401 & \"more\""))]);
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in\n{page}"));
        assert!(at("/&lt;i&gt;") < at("status 401 &amp; &quot;more&quot;"));
        assert!(at("status 401") < at("a/b (key c)"));
        at("2 h ago <time datetime=\"2026-11-22T02:30:00Z\">");
        at("in 10 min <time datetime=\"2026-11-22T04:40:00Z\">");
    }

    #[test]
    fn of_many_some_are_shown_and_the_others_counted() {
        let page = shown(&vec![one("x", None); MOST_RENEWALS + 7]);
        assert_eq!(page.matches("rowheader").count(), MOST_RENEWALS);
        assert!(page.contains("And 7 more"), "{page}");
    }
}
