//! The API server is away, and comes back.

use super::*;
use crate::support::api_client::{Secret, Subject};
use crate::support::control_plane::Settings;
use crate::support::process::free_port;
use crate::support::unique_name;

fn await_recovery(exporter: &Exporter, back: Instant, of: &[(&str, i64)]) -> String {
    let metrics = exporter.wait_for_metrics("up again", |metrics| up(metrics) == 1.0 && shown(metrics) == state(of));
    assert!(back.elapsed() < RECOVERY, "{:?}", back.elapsed());
    metrics
}

#[test]
fn a_server_that_is_away_at_the_start() {
    let mut scene = Scene::new();
    scene.down();
    let mut exporter = scene.exporter("");
    let metrics = exporter.wait_for_metrics("failures", |metrics| errors(metrics, "connect") >= 2.0);
    assert_eq!((up(&metrics), shown(&metrics)), (0.0, state(&[])));
    assert_eq!(exporter.get("/readyz").status, 503);
    // A stranger may have had the port for a moment.
    assert_eq!(exporter.log_lines("Connection refused").len(), 1, "{}", exporter.log());
    let back = scene.up();
    await_recovery(&exporter, back, &[("a", 5)]);
    exporter.wait_until_ready();
    assert_eq!(version_asked(&scene.await_watches(1)[0]), "10");
    scene.send(put("a", 11));
    await_state(&exporter, "a change after the recovery", &[("a", 11)]);
}

#[test]
fn a_server_that_goes_away_in_mid_watch() {
    let mut scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    scene.send(put("a", 12));
    let before = await_state(&exporter, "a change before", &[("a", 12)]);
    assert_eq!((up(&before), errors(&before, "")), (1.0, 0.0));

    scene.down();
    scene.lists(|_, _| list(30, &[("a", 25), ("b", 26)]));
    for failures in [1.0, 2.0] {
        let during = exporter
            .wait_for_metrics("failures", |metrics| errors(metrics, "connect") >= failures && up(metrics) == 0.0);
        assert_eq!(shown(&during), state(&[("a", 12)]));
        assert_eq!(last_success(&during), last_success(&before));
        assert_eq!(errors(&during, ""), errors(&during, "connect"), "{during}");
    }
    assert_eq!(exporter.get("/readyz").status, 200);
    assert_eq!(exporter.log_lines("[ERROR]").len(), 1, "{}", exporter.log());

    let back = scene.up();
    let after = await_recovery(&exporter, back, &[("a", 25), ("b", 26)]);
    assert!(last_success(&after) > last_success(&before));
    assert_eq!(exporter.log_lines("works again").len(), 1, "{}", exporter.log());
    // Not older than what was seen before it went away.
    assert_eq!(version_asked(&scene.asked(false)[0]), "12");
    assert_eq!(version_asked(&scene.await_watches(1)[0]), "12");
    scene.send(deleted("b", 31));
    await_state(&exporter, "a change after the recovery", &[("a", 25)]);
}

/// Of a server that was restarted no version of before can be watched: one list for each watch, from its cache, and no more.
#[test]
fn a_server_that_has_forgotten() {
    let mut scene = Scene::new();
    let exporter = scene.followed(&["x", "y"]);
    scene.down();
    exporter.wait_for_metrics("a failure", |metrics| errors(metrics, "connect") >= 1.0);
    scene.lists(|_, _| list(30, &[("a", 25)]));
    scene.watches(|request, open| match version_asked(request).as_str() {
        "10" => Answer::status_object(410, "Expired"),
        _ => open.answer(request),
    });
    let back = scene.up();
    await_recovery(&exporter, back, &[("a", 25)]);
    let lists: Vec<_> = scene.asked(false).iter().map(version_asked).collect();
    let watches: Vec<_> = scene.asked(true).iter().map(version_asked).collect();
    assert_eq!((lists, watches), (vec!["10".to_owned(); 2], ["10", "30", "30"].map(str::to_owned).to_vec()));
}

/// It takes connections and requests, and says nothing: that is noticed, and no sign of life.
#[test]
fn a_watch_that_is_not_answered() {
    let scene = Scene::new();
    let exporter = scene.followed(&["x"]);
    scene.watches(|_, _| Answer::silence());
    scene.send(b"garbage\n".to_vec());
    scene.await_watches(2);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((up(&exporter.metrics()), exporter.log_lines("works again").len()), (0.0, 0), "{}", exporter.log());
    scene.watches_stay_open();
    exporter.wait_for_metrics("it is given up", |metrics| errors(metrics, "timeout") == 1.0);
    await_recovery(&exporter, Instant::now(), &[("a", 5)]);
    assert_eq!(scene.asked(true).len(), 3);
}

#[test]
fn a_server_that_goes_away_in_mid_list() {
    let mut scene = Scene::new();
    let exporter = scene.exporter("polling_interval: 1s\n");
    await_state(&exporter, "the first list", &[("a", 5)]);
    scene.watches(|_, _| Answer::raw(""));
    scene.lists(|_, _| list(20, &[("a", 15), ("b", 16)]).cut_after(400));
    let during = exporter.wait_for_metrics("a cut list", |metrics| errors(metrics, "cut_off") >= 1.0);
    assert_eq!(shown(&during), state(&[("a", 5)]), "nothing of half a list");
    scene.down();
    let during = exporter.wait_for_metrics("no connection", |metrics| errors(metrics, "connect") >= 1.0);
    assert_eq!((up(&during), shown(&during)), (0.0, state(&[("a", 5)])));
    scene.watches_stay_open();
    scene.lists(|_, _| list(20, &[("a", 15), ("b", 16)]));
    let back = scene.up();
    await_recovery(&exporter, back, &[("a", 15), ("b", 16)]);
}

/// The port is nobody's for a while, as it is between two processes.
#[test]
fn the_address_of_nobody_is_asked_with_patience() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = format!("label_selectors: {:?}\n", ["a", "b", "c", "d", "e"]);
    let exporter = Setup::new(config).kubeconfig(&Kubeconfig::new(format!("http://{address}")).token("t")).start();
    std::thread::sleep(Duration::from_secs(4));
    let metrics = exporter.metrics();
    let asked: f64 = find(&metrics, "jwt_exporter_kube_requests_total", &[]).iter().map(|sample| sample.value).sum();
    assert!((2.0..=4.0).contains(&asked), "at 0, 1 and 3 s: {asked}");
    assert_eq!(errors(&metrics, "connect"), asked);
}

#[test]
fn a_real_server_that_is_stopped_and_started() {
    let mut plane = require_own_control_plane!(Settings::default());
    let (namespace, label) = (plane.admin().create_unique_namespace("outage"), unique_name("outage"));
    plane.admin().create_service_account(&namespace, "reader");
    let reader = Subject::ServiceAccount { namespace: &namespace, name: "reader" };
    plane.admin().grant(reader, &["get", "list", "watch"], "secrets");
    let bearer = plane.admin().request_token(&namespace, "reader", &[], 3600);
    let state_of = |plane: &crate::support::control_plane::ControlPlane, name: &str, expires: i64| {
        let jwt = token::hs256(&json!({"exp": expires}));
        plane.admin().put_secret(&Secret::new(&namespace, name).label(&label, "yes").data("token", jwt));
    };
    for name in ["changed", "deleted", "kept"] {
        state_of(&plane, name, 1);
    }
    let config = format!("label_selectors: [{label}]\n");
    let exporter = Setup::new(config).kubeconfig(&plane.kubeconfig().token(&bearer)).start();
    let all = [("changed", 1), ("deleted", 1), ("kept", 1)];
    let before = await_state(&exporter, "the first list", &all);
    state_of(&plane, "kept", 2);
    let all = [("changed", 1), ("deleted", 1), ("kept", 2)];
    await_state(&exporter, "a change before", &all);

    plane.stop_api_server();
    let during = exporter.wait_for_metrics("failures", |metrics| errors(metrics, "") >= 3.0);
    assert_eq!((up(&during), shown(&during)), (0.0, state(&all)));
    assert_eq!(last_success(&during), last_success(&before));

    plane.start_api_server();
    let back = Instant::now();
    state_of(&plane, "changed", 3);
    plane.admin().delete_secret(&namespace, "deleted");
    state_of(&plane, "added", 3);
    let after = [("added", 3), ("changed", 3), ("kept", 2)];
    await_recovery(&exporter, back, &after);
    state_of(&plane, "added", 4);
    await_state(&exporter, "a change after", &[("added", 4), ("changed", 3), ("kept", 2)]);
}
