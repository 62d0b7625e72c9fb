//! `renew -dry-run` against a real API server: asks no endpoint, writes nothing, shows no credential.

use super::secrets::{namespace, path, renewal, target};
use super::{Endpoint, PASSWORD, lives, setup};
use crate::secrecy::segments;
use crate::support::api_client::Subject;
use crate::support::exporter::Finished;
use serde_json::{Value, json};

#[test]
fn it_says_what_would_be_done_and_what_is_in_the_way() {
    let plane = require_control_plane!();
    let namespace = namespace(plane);
    let admin = plane.admin();
    admin.create_service_account(&namespace, "renewer");
    let user = Subject::ServiceAccount { namespace: &namespace, name: "renewer" };
    let bearer = admin.request_token(&namespace, "renewer", &[], 3600);
    let token = lives(-1000, 3600);
    let before = admin.put_secret(&target(&namespace).data("token", &token));
    let endpoint = Endpoint::good();
    let run = |renewal: &Value| -> Finished {
        let setup = setup("", std::slice::from_ref(renewal)).kubeconfig(&plane.kubeconfig().token(&bearer));
        let finished = setup.argument("renew").argument("-dry-run").run_arguments_first();
        let shown = format!("{}{}", finished.stdout, finished.stderr);
        for (name, secret) in segments("the token", &token) {
            assert!(!shown.as_bytes().windows(secret.len()).any(|piece| piece == secret), "{name}: {shown}");
        }
        assert!(!shown.contains("end-of-the-password") && !shown.contains(PASSWORD), "{shown}");
        finished
    };
    let mut renewal = renewal(&endpoint, &namespace);
    renewal["create"] = json!({});
    let nothing = run(&renewal);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    for part in [
        &format!("missing right: get secret {namespace}/bearer; a Role in {namespace} needs"),
        &format!("missing right: patch secret {namespace}/bearer; "),
        &format!("missing right: create secrets in {namespace}; "),
        &format!("missing right: get secret {namespace}/cpd-admin; "),
        "verbs: [patch], resourceNames: [bearer]}",
        "in the way (target_forbidden)",
        "in the way (credentials_unavailable)",
    ] {
        assert!(nothing.stdout.contains(part), "{part} is not in\n{}", nothing.stdout);
    }

    admin.grant_in(&namespace, user, &["get", "patch", "create"], "secrets");
    let good = run(&renewal);
    assert_eq!((good.status.code(), good.stderr.contains("ERROR")), (Some(0), false), "{good:?}");
    for part in [
        &format!("{namespace}/bearer (key token)\n  the token expires at "),
        "it would be renewed at ",
        &format!("POST {}/icp4d-api/v1/authorize\n", endpoint.server.url()),
        "Content-Type: application/json\n",
        r#"{"username":"${username}","password":"${password}"}"#,
        &format!("variables: username, password, from the Secret {namespace}/cpd-admin\n"),
        "Nothing is in the way.\n",
    ] {
        assert!(good.stdout.contains(part), "{part} is not in\n{}", good.stdout);
    }
    assert!(endpoint.server.requests().is_empty());
    assert_eq!(admin.get(&path(&namespace))["metadata"], before["metadata"]);
}
