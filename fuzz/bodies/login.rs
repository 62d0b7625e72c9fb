//! A login: the first line is the role as JSON, the rest the token. It is held against a JWT mount of each kind and a Kubernetes
//! mount, of both servers; whatever comes out has to agree with itself.

use jwt_exporter::json::{Duplicates, Value};
use jwt_exporter::login::{
    Assessment, Facts, Flavour, JwtConfig, JwtMount, JwtRole, KeySource, Keys, KubernetesConfig, KubernetesMount,
    KubernetesRole, NamespaceLabels, Origin, Server, Verdict,
};
use jwt_exporter::redacted::Redacted;
use jwt_exporter::time::UnixSeconds;
use std::collections::BTreeMap;

/// Runs one input. Returns whether any mount would let the role be written.
pub(super) fn run(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let (role, token) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(fields) = Value::parse(role.as_bytes(), Duplicates::LastWins) else { return false };
    let token = Redacted::new(token.to_owned());
    let mut accepted = false;
    for flavour in [Flavour::Vault, Flavour::OpenBao] {
        let server = Server::newest(flavour);
        if let Ok(role) = JwtRole::parse(&fields, server, Origin::Written) {
            accepted = true;
            for keys in [KeySource::Static(Vec::new()), KeySource::Provider("p".to_owned())] {
                let config = JwtConfig {
                    keys,
                    bound_issuer: String::new(),
                    algorithms: Vec::new(),
                    default_role: "r".to_owned(),
                    oidc_client: false,
                };
                let roles = BTreeMap::from([("r".to_owned(), role.clone())]);
                let mount = JwtMount { server, config, roles };
                check(&mount.assess(None, &token, &Keys::Sets(Vec::new()), None), &token);
            }
        }
        if let Ok(role) = KubernetesRole::parse(&fields, Origin::Written) {
            accepted = true;
            let config = KubernetesConfig { pem_keys: Vec::new(), bound_issuer: String::new(), has_reviewer: true };
            let mount = KubernetesMount { server, config, roles: BTreeMap::from([("r".to_owned(), role)]) };
            let facts = Facts { source: None, labels: &|_| NamespaceLabels::Unknown, review: None };
            let assessment = mount.assess(Some("R"), &token, facts);
            assert!(assessment.at(UnixSeconds(0)) != Verdict::Accepted, "accepted without a review");
            check(&assessment, &token);
        }
    }
    accepted
}

fn check(assessment: &Assessment, token: &Redacted) {
    for now in [i64::MIN, 0, 1_800_000_000, i64::MAX].map(UnixSeconds) {
        let last = assessment.explain(now).pop().expect("a step");
        assert_eq!(last.verdict, assessment.at(now), "the explanation ends elsewhere");
    }
    let window = assessment.window();
    if let Some((from, until)) = window.and_then(|window| window.from.zip(window.until)) {
        let before = Verdict::Refused(jwt_exporter::login::Refusal::Expired);
        assert_eq!(assessment.at(until), if until < from { assessment.at(until) } else { before });
    }
    if token.expose().len() > 100 {
        assert!(!format!("{assessment:?}").contains(token.expose()), "the token is shown");
    }
}
