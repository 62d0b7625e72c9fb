//! Answers of the servers that logins are judged with: health, the list of roles, a config, a role, a discovery document, the
//! status of a TokenReview. One document is held for each of them.

use jwt_exporter::json::{Duplicates, Value};
use jwt_exporter::login::{JwtConfig, JwtRole, KubernetesConfig, KubernetesRole, Origin, Review, ReviewRequest};
use jwt_exporter::vault::answers::{keys_url, names_of, review_of, server_of};

/// Runs one input. Returns whether it is the answer to any question.
pub(super) fn run(input: &[u8]) -> bool {
    let Ok(answer) = Value::parse(input, Duplicates::LastWins) else { return false };
    let server = server_of(&answer);
    let names = names_of(&answer);
    assert!(names.len() <= input.len());

    let asked = "https://issuer.test/";
    let keys = keys_url(Some(&answer), asked);
    assert!(keys.is_err() || answer.member("issuer").and_then(Value::as_text) == Some(asked));

    let anybody = review_of(&answer, &ReviewRequest { audiences: Vec::new() });
    let meant = review_of(&answer, &ReviewRequest { audiences: vec!["vault".to_owned()] });
    assert!(anybody != Review::Refused || meant == Review::Refused, "more audiences confirm more");
    if anybody != Review::Refused {
        assert_eq!(answer.member("authenticated"), Some(&Value::Boolean(true)));
    }

    let rules = server.unwrap_or_default();
    let mut settings = [false; 4];
    for origin in [Origin::Read, Origin::Written] {
        settings = [
            JwtConfig::parse(&answer, rules, origin).is_ok(),
            JwtRole::parse(&answer, rules, origin).is_ok(),
            KubernetesConfig::parse(&answer, origin).is_ok(),
            KubernetesRole::parse(&answer, origin).is_ok(),
        ];
    }
    let told = answer.member("kubernetes_host").is_some() && settings[2] || settings[0] || settings[1] || settings[3];
    server.is_some() || !names.is_empty() || keys.is_ok() || anybody != Review::Refused || told
}
