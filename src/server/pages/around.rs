//! What stands around the tokens: how it looks as a whole, what went wrong, where tokens come from.

use super::Front;
use super::html::{grouped, push_text, text};
use super::kind::{Kind, SOON};
use super::query::Query;
use super::selection::Selection;
use crate::observation::Reason;
use crate::snapshot::{Snapshot, SourceStatus};
use crate::time::{UnixSeconds, date, from_now, span};
use std::fmt::{Result, Write as _};

/// Namespaces beyond these are counted.
const MOST_SCOPES: usize = 20;

/// Name, moment, and at once whatever cannot be read now.
pub(super) fn header(page: &mut String, snapshot: &Snapshot, query: &Query, front: Front<'_>) -> Result {
    writeln!(
        page,
        r##"<header>
<h1>jwt-exporter</h1>
<p>As of <time datetime="{now}">{words}</time>. <a href="{again}">Refresh</a></p>
<nav aria-label="On this page">
<ul><li><a href="#tokens">Tokens</a></li>{renewals}<li><a href="#errors">Errors</a></li><li><a href="#sources">Sources</a></li></ul>
</nav>"##,
        now = front.now,
        words = date(front.now),
        again = text(&query.address()),
        renewals = if front.renewals.is_empty() { "" } else { "<li><a href=\"#renewals\">Renewals</a></li>" },
    )?;
    for source in snapshot.sources().iter().filter(|source| !source.up) {
        page.push_str("<p class=\"notice\"><strong>");
        push_text(page, &source.name);
        page.push_str(if source.tried { " could not be read.</strong> " } else { " has not been read yet.</strong> " });
        if source.tokens > 0 {
            page.push_str("What it last showed stands below. ");
        }
        page.push_str("<a href=\"#sources\">Why</a></p>\n");
    }
    page.push_str("</header>\n");
    Ok(())
}

/// How many there are of each kind, each a way to those alone.
pub(super) fn totals(page: &mut String, query: &Query, selection: &Selection<'_>) -> Result {
    page.push_str("<section aria-labelledby=\"totals-heading\">\n<h2 id=\"totals-heading\">");
    page.push_str(if query.text.is_empty() { "Overview" } else { "Overview of what matches" });
    page.push_str("</h2>\n<ul class=\"totals\">\n");
    let mut one = |kind: Option<Kind>, count: usize| {
        let class = if count == 0 { "none" } else { kind.map_or("all", Kind::code) };
        let current = if query.kind == kind { " aria-current=\"true\"" } else { "" };
        writeln!(
            page,
            r#"<li class="{class}"><a href="{address}#tokens"{current}><b>{count}</b> {words}</a></li>"#,
            address = text(&Query { kind, ..query.first_page() }.address()),
            count = grouped(count),
            words = kind.map_or("Everything", Kind::words),
        )
    };
    one(None, selection.matching)?;
    for kind in selection.kinds() {
        one(Some(kind), selection.count(kind))?;
    }
    let besides =
        if selection.board.is_empty() { "What has an error is" } else { "What would be refused, or has an error, is" };
    writeln!(
        page,
        "</ul>\n<p class=\"note\">What expires within {} expires soon. {besides} counted in its state as well.</p>\n</section>",
        span(SOON.unsigned_abs()),
    )
}

/// Every reason that there is, in words, and a way to the rows that have it.
pub(super) fn errors(page: &mut String, query: &Query, selection: &Selection<'_>) -> Result {
    page.push_str("<section aria-labelledby=\"errors\">\n<h2 id=\"errors\">Errors</h2>\n");
    let there = Reason::ALL.into_iter().zip(selection.reasons).filter(|(_, count)| *count > 0);
    let there: Vec<(Reason, usize)> = there.collect();
    if selection.beyond > 0 {
        writeln!(
            page,
            "<p><code>max_series</code> is reached: {} of all tokens have no samples in the families with roles and scopes. They are shown here, and have their <code>jwt_exporter_token_*</code> samples.</p>",
            grouped(selection.beyond),
        )?;
    }
    if there.is_empty() {
        page.push_str("<p>None.</p>\n</section>\n");
        return Ok(());
    }
    page.push_str(
        r#"<table role="table">
<caption>How often each reason stands beside a token or in its place</caption>
<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Reason</th><th role="columnheader" scope="col">What it means</th><th role="columnheader" scope="col" class="number">Times</th></tr></thead>
<tbody role="rowgroup">
"#,
    );
    for (reason, count) in there {
        let (code, words) = (reason.as_str(), text(reason.in_words()));
        let only = Query { text: code.to_owned(), kind: Some(Kind::Error), ..query.first_page() };
        writeln!(
            page,
            r#"<tr role="row"><th role="rowheader" scope="row"><a href="{address}#tokens"><code>{code}</code></a></th><td role="cell">{words}</td><td role="cell" class="number"><span class="label">Times</span>{count}</td></tr>"#,
            address = text(&only.address()),
            count = grouped(count),
        )?;
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
    Ok(())
}

/// Where tokens are read from, and how that goes.
pub(super) fn sources(page: &mut String, snapshot: &Snapshot, now: UnixSeconds) -> Result {
    page.push_str("<section aria-labelledby=\"sources\">\n<h2 id=\"sources\">Sources</h2>\n");
    if snapshot.sources().is_empty() {
        page.push_str("<p>None is configured, or none has been read yet.</p>\n</section>\n");
        return Ok(());
    }
    page.push_str(
        r#"<table role="table">
<caption>Where tokens are read, and when that last went well</caption>
<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Source</th><th role="columnheader" scope="col">State</th><th role="columnheader" scope="col">Last success</th><th role="columnheader" scope="col" class="number">Tokens</th><th role="columnheader" scope="col" class="number">Secrets</th></tr></thead>
<tbody role="rowgroup">
"#,
    );
    for source in snapshot.sources() {
        write!(page, r#"<tr role="row"><th role="rowheader" scope="row">{}</th>"#, text(&source.name))?;
        state(page, source);
        page.push_str("<td role=\"cell\"><span class=\"label\">Last success</span>");
        match source.last_success {
            Some(at) => write!(page, r#"{} <time datetime="{at}">{}</time>"#, from_now(at, now), date(at))?,
            None => page.push_str("never"),
        }
        writeln!(
            page,
            r#"</td><td role="cell" class="number"><span class="label">Tokens</span>{}</td><td role="cell" class="number"><span class="label">Secrets</span>{}</td></tr>"#,
            grouped(source.tokens),
            grouped(source.secrets),
        )?;
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
    Ok(())
}

/// Works or not; and if not, why.
fn state(page: &mut String, source: &SourceStatus) {
    let (class, words) = match (source.up, source.tried) {
        (true, _) => ("valid", "Up"),
        (false, true) => ("expired", "Not up"),
        (false, false) => ("none", "Not read yet"),
    };
    page.push_str("<td role=\"cell\" class=\"");
    page.push_str(class);
    page.push_str("\"><span class=\"state\">");
    page.push_str(words);
    page.push_str("</span>");
    if let Some(failure) = source.failure.as_deref().filter(|_| !source.up) {
        page.push_str(" <span class=\"why\">");
        push_text(page, failure);
        page.push_str("</span>");
    }
    let failed = || source.scopes.iter().filter(|scope| !scope.up);
    if failed().next().is_some() {
        page.push_str(" <span class=\"why\">Namespaces that cannot be read:");
        for scope in failed().take(MOST_SCOPES) {
            page.push(' ');
            push_text(page, &scope.name);
        }
        let more = failed().count().saturating_sub(MOST_SCOPES);
        if more > 0 {
            page.push_str(" and ");
            page.push_str(&grouped(more));
            page.push_str(" more");
        }
        page.push_str("</span>");
    }
    page.push_str("</td>");
}

/// What this is, and where programs look.
pub(super) fn footer(page: &mut String, selection: &Selection<'_>, front: Front<'_>) -> Result {
    let verified = if selection.board.is_empty() { "not verified" } else { "verified for logins alone" };
    writeln!(
        page,
        r#"<footer>
<p>jwt-exporter {}. For programs: <a href="metrics">metrics</a>, <a href="healthz">health</a>, <a href="readyz">readiness</a>. Signatures are {verified}.</p>
</footer>"#,
        text(front.version),
    )
}
