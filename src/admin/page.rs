//! A report as a page for the person on call: `/`.
//!
//! What is wrong stands first, in words; then each pool with its figures and servers, then the newest lines of the log.
//! It is whole without scripts, and then loads itself anew every 5 s; with them, a few lines replace its `<main>` every
//! 2 s while it is looked at, and say when nobody answers. It asks for nothing but itself, and has no colour without a
//! word. Whatever comes from elsewhere is written by `Html::text`, which escapes.

use super::events;
use super::interval::{self, Interval};
use super::problem::{self, Problem};
use super::report::{PoolReport, Report};
use super::words;
use crate::stats::{ADDRESSES_SHOWN, CODES, Histogram, REDIRECTS, ServerFigures, ServerRole};

/// Appends the page. Rates and latencies are those since the older report, which is best
/// [`interval::Recent`]'s; without
/// one they are those since the start.
pub fn write(report: &Report, before: Option<&Report>, out: &mut Vec<u8>) {
    let start = interval::start_of(report);
    let before = before.unwrap_or(&start);
    let interval = Interval::between(before, report);
    let problems = problem::problems(report, &interval);
    let mut page = Html { out };
    page.raw(HEAD).raw("<title>rmux: ");
    page.text(problems.first().map_or("all is well", |first| &first.text));
    page.raw("</title><style>").raw(include_str!("page.css")).raw(BODY);
    write_headline(&mut page, &problems);
    write_summary(&mut page, report, &interval);
    for pool in &report.pools {
        write_pool(&mut page, before, report, pool);
    }
    write_events(&mut page, report);
    write_process(&mut page, report);
    page.raw("</main><script>").raw(include_str!("page.js")).raw("</script>\n");
}

fn write_headline(page: &mut Html<'_>, problems: &[Problem]) {
    let Some((first, others)) = problems.split_first() else {
        page.raw("<h1 class=ok>✓ All is well</h1>");
        return;
    };
    let class = |problem: &Problem| if problem.is_grave { "bad" } else { "warn" };
    let sign = |problem: &Problem| if problem.is_grave { "✗ " } else { "! " };
    page.raw("<h1 class=").raw(class(first)).raw(">").raw(sign(first)).text(&first.text).raw("</h1>");
    if !others.is_empty() {
        page.raw("<ul>");
        for other in others {
            page.raw("<li class=").raw(class(other)).raw(">").raw(sign(other)).text(&other.text).raw("</li>");
        }
        page.raw("</ul>");
    }
}

/// A line about everything.
fn write_summary(page: &mut Html<'_>, report: &Report, interval: &Interval) {
    let servers = || report.pools.iter().flat_map(|pool| &pool.figures.servers);
    let up = servers().filter(|server| server.state.is_up()).count() as u64;
    let clients = report.pools.iter().map(|pool| pool.figures.clients).sum();
    let rate = words::count(interval.per_second(interval.requests));
    page.raw("<p class=dim>").text(&words::count(up)).raw(" of ").text(&words::count(servers().count() as u64));
    page.raw(" servers up · ").text(&words::count(clients)).raw(" clients · ").text(&rate);
    page.raw(" requests/s · rates and latencies of the last ").text(&words::span(interval.ms)).raw("</p>");
}

fn write_pool(page: &mut Html<'_>, before: &Report, report: &Report, pool: &PoolReport) {
    let figures = &pool.figures;
    let interval = Interval::of_pool(before, report, pool);
    let rate = |count| words::count(interval.per_second(count));
    page.raw("<h2>").text(&pool.listen).raw("</h2><dl>");

    let [bytes_in, bytes_out] =
        [interval.bytes_in, interval.bytes_out].map(|bytes| words::bytes(interval.per_second(bytes)));
    page.tile("requests/s", &rate(interval.requests), &["in ", &bytes_in, "/s, out ", &bytes_out, "/s"]);
    let clients_max = words::count(figures.clients_max);
    let accepted = rate(interval.accepted);
    page.tile("clients", &words::count(figures.clients), &["of ", &clients_max, ", ", &accepted, " new/s"]);
    let longest = words::short_span(figures.wait_max_us);
    page.tile("clients that wait", &words::count(figures.clients_waiting), &["longest of late ", &longest]);
    latency(page, "wait, p99", &interval.waits);
    latency(page, "server, p99", &interval.durations);
    let (own, theirs) = (interval.own_errors.total(), interval.server_errors.total());
    page.tile("errors/s", &rate(own + theirs), &["rmux's own ", &rate(own), ", of servers ", &rate(theirs)]);
    let [taken, max] = [figures.buffered_bytes, figures.buffered_bytes_max].map(words::bytes);
    page.raw("<div><dt>memory</dt><dd>").text(&taken).raw("<small>of ").text(&max).raw("</small>");
    let [value, max] = [figures.buffered_bytes, figures.buffered_bytes_max.max(1)].map(|bytes| bytes.to_string());
    page.raw("<meter aria-label=memory value=").text(&value).raw(" max=").text(&max);
    page.raw(" high=").text(&(figures.buffered_bytes_max / 5 * 4).to_string()).raw("></meter></dd></div></dl>");

    page.raw(SERVERS);
    for place in 0..figures.servers.len() {
        let requests = interval::requests_of(before, report, pool, place);
        write_server(page, report, &figures.addresses[place], &figures.servers[place], &rate(requests));
    }
    page.raw("</table></div>");
    write_others(page, report, pool);
    write_errors(page, pool, &interval);
}

/// A line about sentinels and certificates, if there are any.
fn write_others(page: &mut Html<'_>, report: &Report, pool: &PoolReport) {
    let mut parts = Vec::new();
    if !pool.sentinels.is_empty() {
        let [answering, all] = [pool.sentinels_by_state()[0], pool.sentinels.len() as u64].map(words::count);
        parts.push([&answering, " of ", &all, " sentinels answer"].concat());
    }
    for cluster in &pool.clusters {
        let [covered, masters, replicas] = [cluster.slots_covered, cluster.masters, cluster.replicas].map(words::count);
        parts.push([&masters, " masters and ", &replicas, " replicas have ", &covered, " slots"].concat());
        let redirects = REDIRECTS.iter().zip(pool.figures.stats.redirects).filter(|(_, count)| *count > 0);
        let redirects: Vec<String> =
            redirects.map(|(kind, count)| [&words::count(count), " ", kind].concat()).collect();
        if !redirects.is_empty() {
            parts.push(["redirects: ", &redirects.join(", ")].concat());
        }
    }
    for certificate in &pool.certificates {
        let left = words::span(certificate.until_unix_ms.saturating_sub(report.unix_ms));
        parts.push([&certificate.key, " until ", &certificate.until, " (", &left, ")"].concat());
    }
    if !parts.is_empty() {
        page.raw("<p class=dim>").text(&parts.join(" · ")).raw("</p>");
    }
}

fn latency(page: &mut Html<'_>, name: &str, times: &Histogram) {
    if times.count() == 0 {
        page.tile(name, "–", &["nothing was timed"]);
        return;
    }
    let [p50, p99] = [500, 990].map(|part| words::short_span(times.quantile_us(part)));
    page.tile(name, &p99, &["p50 ", &p50]);
}

fn write_server(page: &mut Html<'_>, report: &Report, address: &str, server: &ServerFigures, rate: &str) {
    let class = match (server.state.is_up(), problem::is_unwell(server)) {
        (true, false) => "ok",
        (true, true) => "warn",
        (false, _) => "bad",
    };
    let since = words::time_of_day(report.unix_ms.saturating_sub(server.state_ms));
    page.raw("<tr><th scope=row>").text(address);
    if server.role != ServerRole::Master {
        page.raw("<small>replica</small>");
    }
    if !server.location.addresses.is_empty() {
        let more = server.location.count.saturating_sub(ADDRESSES_SHOWN as u64);
        page.raw("<small>at ").text(&server.location.addresses);
        page.text(&if more > 0 { [", and ", &words::count(more), " more"].concat() } else { String::new() });
        page.raw("</small>");
    }
    page.raw("<td><b class=").raw(class).raw(">").raw(server.state.name());
    page.raw("</b> for ").text(&words::span(server.state_ms));
    if problem::is_unwell(server) {
        page.raw("<small>since ").text(&since).raw(" UTC</small>");
    }
    if !server.why.is_empty() {
        // Of a server that is well, it is history.
        page.raw("<small>")
            .raw(if problem::is_unwell(server) { "" } else { "last: " })
            .text(&server.why)
            .raw("</small>");
    }
    let stats = &server.stats;
    let waiting = server.waiting.iter().sum();
    let numbers = [waiting, server.outstanding as u64, server.connections as u64, stats.timeouts, stats.downs];
    page.raw("<td class=n>").text(rate);
    for number in numbers {
        page.raw("<td class=\"n m\">").text(&words::count(number));
    }
}

/// A table of the errors that there were, if there were any.
fn write_errors(page: &mut Html<'_>, pool: &PoolReport, interval: &Interval) {
    let stats = &pool.figures.stats;
    if stats.errors.total() + stats.own_errors.total() == 0 {
        return;
    }
    page.raw(ERRORS);
    for code in CODES {
        let of =
            |errors: &crate::stats::ErrorCodes| errors.iter().find(|(name, _)| *name == code).map_or(0, |one| one.1);
        let [own, theirs] = [of(&stats.own_errors), of(&stats.errors)];
        if own + theirs == 0 {
            continue;
        }
        page.raw("<tr><th scope=row>").text(code);
        for (all, of_late) in [(own, of(&interval.own_errors)), (theirs, of(&interval.server_errors))] {
            page.raw("<td class=n>").text(&words::count(interval.per_second(of_late)));
            page.raw("<td class=n>").text(&words::count(all));
        }
    }
    page.raw("</table></div>");
}

fn write_events(page: &mut Html<'_>, report: &Report) {
    page.raw("<h2>Last events</h2>");
    let events = events::newest(&report.pools);
    if events.is_empty() {
        page.raw("<p class=dim>none</p>");
        return;
    }
    page.raw("<div class=t><table><caption>Newest first, UTC</caption>");
    for event in events.iter().rev() {
        let at = words::time_of_day(report.unix_ms.saturating_sub(event.age_ms));
        page.raw("<tr><td class=n>").text(&at).raw("<small>").text(&words::span(event.age_ms)).raw(" ago</small><td>");
        page.raw(if event.is_warning { "<b class=warn>warning</b> " } else { "" }).text(&event.text);
    }
    page.raw("</table></div>");
}

fn write_process(page: &mut Html<'_>, report: &Report) {
    let (process, reloads) = (&report.process, &report.reloads);
    page.raw("<footer><p>rmux ").raw(env!("CARGO_PKG_VERSION")).raw(", process ").text(&process.id.to_string());
    page.raw(", up ").text(&words::span(report.unix_ms.saturating_sub(report.started_unix_ms)));
    page.raw(" · processor time ").text(&words::span(process.cpu_ms));
    page.raw(" · resident ").text(&words::bytes(process.resident_bytes));
    page.raw(" · files ").text(&words::count(process.open_files)).raw(" of ");
    page.text(&words::count(process.open_files_max));
    page.raw(" · reloads ").text(&words::count(reloads.done)).raw(", refused ").text(&words::count(reloads.refused));
    page.raw("<p>As of ").text(&words::time_of_day(report.unix_ms)).raw(AFTERWORD).raw("</footer>");
}

/// A page that grows.
struct Html<'a> {
    out: &'a mut Vec<u8>,
}

impl Html<'_> {
    /// What is HTML.
    fn raw(&mut self, html: &str) -> &mut Self {
        self.out.extend_from_slice(html.as_bytes());
        self
    }

    /// What is text.
    fn text(&mut self, text: &str) -> &mut Self {
        for byte in text.as_bytes() {
            let escaped: &[u8] = match byte {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                b'\'' => b"&#39;",
                byte => std::slice::from_ref(byte),
            };
            self.out.extend_from_slice(escaped);
        }
        self
    }

    /// A figure with its name, and what belongs to it.
    fn tile(&mut self, name: &str, value: &str, note: &[&str]) {
        self.raw("<div><dt>").text(name).raw("</dt><dd>").text(value).raw("<small>");
        for part in note {
            self.text(part);
        }
        self.raw("</small></dd></div>");
    }
}

/// The icon is none, so that browsers do not ask for one.
const HEAD: &str = "<!doctype html>\n<html lang=en><meta charset=utf-8>\
    <meta name=viewport content=\"width=device-width,initial-scale=1\"><link rel=icon href=\"data:,\">\
    <noscript><meta http-equiv=refresh content=5></noscript>";

const BODY: &str = "</style><body><p id=gone role=alert hidden></p><main>";

const SERVERS: &str = "<div class=t><table><thead><tr><th scope=col>server<th scope=col>state\
    <th scope=col class=n>requests/s<th scope=col class=\"n m\">waiting<th scope=col class=\"n m\">in flight\
    <th scope=col class=\"n m\">connections\
    <th scope=col class=\"n m\">timeouts<th scope=col class=\"n m\">downs<tbody>";

const ERRORS: &str = "<div class=t><table><caption>Errors that clients got</caption><thead><tr><th scope=col>code\
    <th scope=col class=n>rmux's/s<th scope=col class=n>all<th scope=col class=n>servers'/s\
    <th scope=col class=n>all<tbody>";

const AFTERWORD: &str = " UTC. Latencies are at most half too long. For programs: <a href=status.json>status.json</a>, \
    <a href=metrics>metrics</a>";

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn written(report: &Report, before: Option<&Report>) -> String {
        let mut out = Vec::new();
        write(report, before, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    /// Tags that need no end.
    const OPEN: [&str; 12] =
        ["!doctype", "html", "meta", "link", "body", "tr", "th", "td", "tbody", "thead", "p", "caption"];

    /// The tags that are not closed in their order, and attributes that are not.
    fn complaints_about(page: &str) -> Vec<String> {
        let (mut complaints, mut within) = (Vec::new(), Vec::new());
        let mut rest = page;
        while let Some((before, after)) = rest.split_once('<') {
            if before.contains('>') && !matches!(within.last(), Some(&"style" | &"script")) {
                complaints.push(format!("a stray > in {before}"));
            }
            let Some((tag, behind)) = after.split_once('>') else {
                complaints.push(format!("no end: {after}"));
                break;
            };
            rest = behind;
            let name = tag.trim_start_matches('/').split(' ').next().expect("split gives at least one");
            if tag.matches('"').count() % 2 != 0 || tag.contains(['\'', '&']) || name.is_empty() {
                complaints.push(format!("what is <{tag}>?"));
            }
            match tag.strip_prefix('/') {
                _ if OPEN.contains(&name) => {}
                Some(name) if within.pop() == Some(name) => {}
                Some(name) => complaints.push(format!("</{name}> ends nothing, within {within:?}")),
                None => within.push(name),
            }
            if name == "script" && !tag.starts_with('/') {
                rest = &rest[rest.find("</script>").expect("it ends")..];
            }
        }
        complaints.extend(within.iter().map(|name| format!("<{name}> has no end")));
        complaints
    }

    #[test]
    fn what_is_wrong_stands_first_and_everything_is_escaped() {
        let (before, now) = (sample::report_before(), sample::report());
        let page = written(&now, Some(&before));
        assert_eq!(complaints_about(&page), [""; 0]);
        for part in [
            "<title>rmux: server redis2:6379 is down since 10:07:59 UTC (4 min 12 s): it does not take connections: \
             &quot;Connection &lt;refused&gt;&quot; &amp; more</title>",
            "<h1 class=bad>✗ server redis2:6379 is down since",
            "<li class=warn>! pool /run/rmux/&lt;cache&gt;.sock: memory is nearly full: 210 MiB of 256 MiB</li>",
            "<p class=dim>2 of 3 servers up · 131 clients · 2,005 requests/s · rates and latencies of the last 2 s</p>",
            "<h2>/run/rmux/&lt;cache&gt;.sock</h2>",
            "<dt>requests/s</dt><dd>2,000<small>in 48 KiB/s, out 439 KiB/s</small>",
            "<dt>wait, p99</dt><dd>48 µs<small>p50 48 µs</small>",
            "<dt>server, p99</dt><dd>6.1 ms<small>p50 512 µs</small>",
            "<dt>errors/s</dt><dd>6<small>rmux&#39;s own 4, of servers 2</small>",
            "<tr><th scope=row>redis1:6379<small>at 10.0.0.7:6379, 10.0.0.8:6379</small>\
             <td><b class=ok>up</b> for 1 d 2 h<td class=n>1,500<td class=\"n m\">0",
            "<tr><th scope=row>redis2:6379<td><b class=bad>down</b> for 4 min 12 s<small>since 10:07:59 UTC</small>",
            "<p class=dim>1 of 2 sentinels answer · 3 masters and 2 replicas have 16,000 slots · redirects: 9 moved, \
             4 ask, 1 readonly · ",
            " · remoteTlsCaFile until 2027-10-21 12:12:09 UTC (329 d 1 h)</p>",
            "<tr><th scope=row>WRONGTYPE<td class=n>0<td class=n>0<td class=n>2<td class=n>4",
            "<b class=warn>warning</b> pool /run/rmux/&lt;cache&gt;.sock: client 7v1 closed: it spoke HTTP",
            "<dt>server, p99</dt><dd>–<small>nothing was timed</small>",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("192.0.2"), "{page}");
        assert!(page.len() < 12_000, "{}", page.len());
    }

    #[test]
    fn it_says_when_all_is_well_and_knows_rates_without_an_older_report() {
        let mut report = sample::report_before();
        report.reloads.is_last_refused = false;
        report.pools[0].figures.buffered_bytes = 0;
        let page = written(&report, None);
        assert_eq!(complaints_about(&page), [""; 0]);
        assert!(page.contains("<h1 class=ok>✓ All is well</h1><p class=dim>3 of 3 servers up"), "{page}");
        assert!(page.contains(" · 2 requests/s · rates and latencies of the last 1 d 2 h"), "{page}");
        assert!(page.contains("<h2>Last events</h2><p class=dim>none</p>"), "{page}");
        assert_eq!(complaints_about(&written(&Report::default(), None)), [""; 0]);
    }

    /// `RMUX_TEST_PAGES=folder` says where to.
    #[test]
    fn pages_are_left_for_who_wants_to_look_at_them() {
        let Some(folder) = std::env::var_os("RMUX_TEST_PAGES") else { return };
        let (before, now) = (sample::report_before(), sample::report());
        for (name, page) in [("troubled", written(&now, Some(&before))), ("default", written(&before, None))] {
            std::fs::write(std::path::Path::new(&folder).join(name).with_extension("html"), page).expect("a folder");
        }
    }

    #[test]
    fn it_asks_for_nothing_but_itself() {
        let page = written(&sample::report(), None);
        assert!(!page.contains("//") && !page.contains("url(") && !page.contains("src="), "{page}");
        assert!(page.matches("fetch(").count() == 1 && page.contains("fetch(location.pathname,"), "{page}");
        assert!(include_str!("page.css").len() + include_str!("page.js").len() < 4_096);
    }

    #[test]
    fn the_check_of_tags_finds_what_is_not_balanced() {
        assert_eq!(complaints_about("<div><p>a<b class=\"x y\">b</b></div>"), [""; 0]);
        for wrong in
            ["<div>", "</div>", "<div><b></div></b>", "<b class=\"x>y</b>", "<b", "a > b<p>", "<b class='x'></b>"]
        {
            assert_ne!(complaints_about(wrong), [""; 0], "{wrong}");
        }
    }
}
