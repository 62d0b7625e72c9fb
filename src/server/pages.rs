//! What a browser gets.

/// The page at `/`: where everything is. `version` is a constant of this program.
pub(super) fn index(version: &str) -> String {
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>jwt-exporter</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }}
body {{ max-width: 40rem; margin: 2rem auto; padding: 0 1rem; }}
</style>
</head>
<body>
<h1>jwt-exporter</h1>
<p>Tells Prometheus when JSON Web Tokens expire. Version {version}.</p>
<ul>
<li><a href="metrics">Metrics</a></li>
<li><a href="healthz">Health</a>: the process works</li>
<li><a href="readyz">Readiness</a>: the sources have been read</li>
</ul>
</body>
</html>
"#
    )
}
