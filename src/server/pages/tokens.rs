//! The table of tokens, with the form that says which of them, and the way to its other pages.

use super::html::{grouped, push_cut, push_text, text};
use super::kind::Kind;
use super::query::{MOST_CHARACTERS, Order, Query, SIZES};
use super::selection::Selection;
use crate::login::Verdict;
use crate::metrics::LoginAnswer;
use crate::observation::labels;
use crate::snapshot::{Row, key_beside_name};
use crate::time::{UnixSeconds, from_now, minute};
use std::borrow::Cow;
use std::fmt::{Result, Write as _};

/// Roles or scopes of a token beyond these are counted.
const MOST_VALUES: usize = 12;

/// Labels that have a column of their own.
const IN_COLUMNS: [&str; 6] = ["secret_cluster", "secret_namespace", "secret_name", "secret_key", "issuer", "subject"];

pub(super) fn section(page: &mut String, query: &Query, selection: &Selection<'_>, now: UnixSeconds) -> Result {
    page.push_str("<section aria-labelledby=\"tokens\">\n<h2 id=\"tokens\">Tokens</h2>\n");
    form(page, query, selection)?;
    if selection.rows.is_empty() {
        let nothing_asked = query.text.is_empty() && query.kind.is_none();
        page.push_str(if nothing_asked {
            "<p>There is none. The sources below say whether they were read; in a cluster, a Secret has to be labelled first.</p>\n"
        } else {
            "<p>None matches. <a href=\"?#tokens\">Show all</a></p>\n"
        });
        page.push_str("</section>\n");
        return Ok(());
    }
    table(page, query, selection, now)?;
    pager(page, query, selection)?;
    page.push_str("</section>\n");
    Ok(())
}

fn form(page: &mut String, query: &Query, selection: &Selection<'_>) -> Result {
    write!(
        page,
        r##"<form role="search" aria-label="Filter the tokens" method="get" action="#tokens">
<p><label for="q">Text</label><input id="q" name="q" type="search" maxlength="{MOST_CHARACTERS}" autocomplete="off" spellcheck="false" value="{}"></p>
<p><label for="state">State</label><select id="state" name="state"><option value="">Any</option>"##,
        text(&query.text),
    )?;
    for kind in selection.kinds() {
        option(page, kind.code(), kind.words(), query.kind == Some(kind))?;
    }
    page.push_str("</select></p>\n<p><label for=\"sort\">Order</label><select id=\"sort\" name=\"sort\">");
    for order in Order::ALL {
        let words = match order {
            Order::Expiry => "Soonest expiry",
            Order::Namespace => "Namespace",
        };
        option(page, order.code(), words, query.order == order)?;
    }
    page.push_str("</select></p>\n<p><label for=\"size\">Rows</label><select id=\"size\" name=\"size\">");
    let other = (!SIZES.contains(&query.size)).then_some(query.size);
    for size in SIZES.into_iter().chain(other) {
        option(page, &size.to_string(), &size.to_string(), query.size == size)?;
    }
    page.push_str("</select></p>\n<p><button>Show</button> <a href=\"?#tokens\">Reset</a></p>\n</form>\n");
    Ok(())
}

fn option(page: &mut String, code: &str, words: &str, chosen: bool) -> Result {
    let chosen = if chosen { " selected" } else { "" };
    write!(page, r#"<option value="{code}"{chosen}>{words}</option>"#)
}

fn table(page: &mut String, query: &Query, selection: &Selection<'_>, now: UnixSeconds) -> Result {
    write!(
        page,
        r#"<table role="table" class="tokens{}">
<caption>{} to {} of {}, {}</caption>
<thead role="rowgroup"><tr role="row">"#,
        if selection.board.is_empty() { "" } else { " with-logins" },
        grouped(selection.before + 1),
        grouped(selection.before + selection.rows.len()),
        grouped(selection.found),
        match query.order {
            Order::Expiry => "soonest expiry first",
            Order::Namespace => "by namespace and name",
        }
    )?;
    for (words, order) in [
        ("Place", Some(Order::Namespace)),
        ("State", None),
        ("Expires", Some(Order::Expiry)),
        ("Login", None),
        ("Issuer, subject and more", None),
    ] {
        if words == "Login" && selection.board.is_empty() {
            continue;
        }
        let Some(order) = order else {
            write!(page, r#"<th role="columnheader" scope="col">{words}</th>"#)?;
            continue;
        };
        let sorted = if query.order == order { " aria-sort=\"ascending\"" } else { "" };
        let address = text(&Query { order, ..query.first_page() }.address());
        write!(
            page,
            r#"<th role="columnheader" scope="col"{sorted}><a href="{address}#tokens" title="Sort by this">{words}</a></th>"#
        )?;
    }
    page.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    for (kind, row) in &selection.rows {
        write!(page, r#"<tr role="row" class="{}">"#, kind.code())?;
        place(page, row);
        state(page, *kind, row, now);
        expires(page, row, now)?;
        if !selection.board.is_empty() {
            logins(page, selection.board.at(row.place(), now), now)?;
        }
        parties(page, row);
        more(page, row, now)?;
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
    Ok(())
}

/// Namespace, name, and below them the key; of a file its path.
fn place(page: &mut String, row: &Row<'_>) {
    page.push_str("<th role=\"rowheader\" scope=\"row\">");
    for (name, value) in row.location() {
        if !IN_COLUMNS.contains(&name) {
            span(page, "note", &[name, ": ", &value]);
        }
    }
    let (namespace, name, key) = (row.label("secret_namespace"), row.label("secret_name"), row.label("secret_key"));
    let cluster = row.label("secret_cluster");
    if !cluster.is_empty() {
        span(page, "note", &[&cluster]);
    }
    if !namespace.is_empty() {
        page.push_str("<bdi class=\"dim\">");
        push_text(page, &namespace);
        page.push_str("/</bdi><wbr>");
    }
    page.push_str("<bdi class=\"name\">");
    push_text(page, &name);
    page.push_str("</bdi>");
    let key = key_beside_name(&namespace, &name, &key);
    if !key.is_empty() {
        span(page, "note", &[key]);
    }
    page.push_str("</th>");
}

fn span(page: &mut String, class: &str, parts: &[&str]) {
    page.push_str(" <span class=\"");
    page.push_str(class);
    page.push_str("\"><bdi>");
    for part in parts {
        push_text(page, part);
    }
    page.push_str("</bdi></span>");
}

/// In words, with the errors there are and what else has to be known of it.
fn state(page: &mut String, kind: Kind, row: &Row<'_>, now: UnixSeconds) {
    page.push_str("<td role=\"cell\"><span class=\"state\">");
    page.push_str(kind.words());
    page.push_str("</span>");
    if let Some(begins) = row.token().and_then(|token| token.not_before()).filter(|begins| *begins > now) {
        span(page, "note", &["begins ", &from_now(begins, now)]);
    }
    for (reason, detail) in row.errors() {
        page.push_str(" <span class=\"why\"><code>");
        page.push_str(reason.as_str());
        page.push_str("</code> <bdi>");
        push_cut(page, if detail.is_empty() { reason.in_words() } else { detail });
        page.push_str("</bdi></span>");
    }
    page.push_str("</td>");
}

fn expires(page: &mut String, row: &Row<'_>, now: UnixSeconds) -> Result {
    let expires = row.token().and_then(|token| token.expires());
    // Where the column's head is not seen; behind "Expired" nothing has to be said.
    let label = if expires.is_some_and(|at| at <= now) { "" } else { "<span class=\"label\">expires</span>" };
    write!(page, r#"<td role="cell" class="when">{label}"#)?;
    match expires {
        Some(at) => write!(page, r#"{} <time datetime="{at}">{} UTC</time>"#, from_now(at, now), minute(at))?,
        None => page.push_str(if row.is_in_trouble() || row.token().is_none() { "unknown" } else { "never" }),
    }
    page.push_str("</td>");
    Ok(())
}

/// What each login would say, why, and until when.
fn logins<'a>(page: &mut String, answers: impl Iterator<Item = LoginAnswer<'a>>, now: UnixSeconds) -> Result {
    page.push_str("<td role=\"cell\" class=\"logins\">");
    for answer in answers {
        let (class, words) = match answer.verdict {
            Verdict::Accepted => ("valid", "Let in"),
            Verdict::Refused(_) => ("expired", "Refused"),
            Verdict::Undetermined(_) => ("expiring", "Cannot be told"),
        };
        write!(page, "<div class=\"{class}\"><span class=\"state\">{words}</span> <bdi>")?;
        push_cut(page, &answer.name());
        page.push_str("</bdi>");
        if let Some((code, words)) = answer.verdict.reason() {
            write!(page, " <span class=\"why\"><code>{code}</code> {}</span>", text(words))?;
        }
        let ends =
            answer.until().map(|at| ("until", at)).filter(|(_, at)| answer.verdict == Verdict::Accepted || *at > now);
        for (word, at) in answer.begins_after(now).map(|at| ("from", at)).into_iter().chain(ends) {
            write!(
                page,
                r#" <span class="note">{word} <time datetime="{at}">{} UTC</time>, {}</span>"#,
                minute(at),
                from_now(at, now)
            )?;
        }
        page.push_str("</div>");
    }
    page.push_str("</td>");
    Ok(())
}

fn parties(page: &mut String, row: &Row<'_>) {
    page.push_str("<td role=\"cell\">");
    for name in ["issuer", "subject"] {
        let value = row.label(name);
        if !value.is_empty() {
            page.push_str("<span class=\"");
            page.push_str(name);
            page.push_str("\"><span class=\"vh\">");
            page.push_str(name);
            page.push_str(" </span><bdi>");
            push_cut(page, &value);
            page.push_str("</bdi></span> ");
        }
    }
}

/// Everything else that is known, folded up, in the same cell.
fn more(page: &mut String, row: &Row<'_>, now: UnixSeconds) -> Result {
    let Some(token) = row.token() else {
        page.push_str("</td>");
        return Ok(());
    };
    page.push_str("<details><summary>More<span class=\"vh\"> about ");
    push_text(page, &row.label("secret_name"));
    page.push_str("</span></summary><dl>");
    for (name, at) in [("issued", token.issued()), ("valid from", token.not_before())] {
        if let Some(at) = at {
            write!(
                page,
                r#"<dt>{name}</dt><dd>{} <time datetime="{at}">{} UTC</time></dd>"#,
                from_now(at, now),
                minute(at)
            )?;
        }
    }
    write!(page, "<dt>type</dt><dd>{}</dd>", token.token_type.as_str())?;
    for (name, value) in row.labels() {
        if !value.is_empty() && !IN_COLUMNS.contains(&name) {
            pair(page, name, &value);
        }
    }
    for name in ["role", "scope"] {
        let (values, more) = values(token.series(), name);
        if !values.is_empty() {
            let mut all = values.join(", ");
            if more {
                all.push_str(", …");
            }
            write!(page, "<dt>{name}</dt><dd><bdi>")?;
            push_text(page, &all);
            page.push_str("</bdi></dd>");
        }
    }
    page.push_str("</dl></details></td>");
    Ok(())
}

fn pair(page: &mut String, name: &str, value: &str) {
    page.push_str("<dt>");
    push_text(page, name);
    page.push_str("</dt><dd><bdi>");
    push_cut(page, value);
    page.push_str("</bdi></dd>");
}

/// The first of a token's values under a label that each series has its own of, and whether there are more.
fn values<'a>(series: impl Iterator<Item = &'a str>, name: &str) -> (Vec<Cow<'a, str>>, bool) {
    let mut values: Vec<Cow<'a, str>> = Vec::new();
    for value in series.flat_map(labels).filter(|(known, value)| *known == name && !value.is_empty()).map(|(_, v)| v) {
        if values.contains(&value) {
            continue;
        }
        if values.len() == MOST_VALUES {
            return (values, true);
        }
        values.push(value);
    }
    (values, false)
}

fn pager(page: &mut String, query: &Query, selection: &Selection<'_>) -> Result {
    if selection.pages == 1 {
        return Ok(());
    }
    let (here, last) = (selection.page, selection.pages);
    page.push_str("<nav aria-label=\"Pages\"><ul>");
    for (words, to, there) in [
        ("First", 1, here > 1),
        ("Previous", here.saturating_sub(1), here > 1),
        ("", here, false),
        ("Next", here + 1, here < last),
        ("Last", last, here < last),
    ] {
        if words.is_empty() {
            write!(page, r#"<li aria-current="page">Page {} of {}</li>"#, grouped(here), grouped(last))?;
        } else if there {
            let address = text(&Query { page: to, ..query.clone() }.address());
            write!(page, r#"<li><a href="{address}#tokens">{words}</a></li>"#)?;
        }
    }
    page.push_str("</ul></nav>\n");
    Ok(())
}
