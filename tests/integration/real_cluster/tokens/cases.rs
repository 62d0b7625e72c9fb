//! The table of tokens. Each is a Secret of this name with one value.

use crate::support::token::{base64url, now};

/// A token that can be read.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// The documents of the token, as they are encoded.
    pub(super) header: String,
    pub(super) claims: String,
    /// What stands around the token in the value; `*` is the token.
    around: &'static str,
    signature: &'static [u8],
}

impl Case {
    pub(super) fn value(&self) -> String {
        let parts = [self.header.as_bytes(), self.claims.as_bytes(), self.signature].map(base64url);
        self.around.replace('*', &parts.join("."))
    }
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Claims that differ in one thing from what is ordinary: `EXP` and `IAT` stand for good dates.
const CLAIMS: [(&str, &str); 63] = [
    ("ordinary", r#"{"iss":"issuer","sub":"subject","aud":"audience","exp":EXP,"nbf":IAT,"iat":IAT,"jti":"id"}"#),
    ("empty", "{}"),
    ("empty-with-space", " {\n\t} "),
    (
        "everything",
        r#"{"iss":"i","sub":"s","aud":["a","b"],"exp":EXP,"nbf":IAT,"iat":IAT,"jti":"j","name":"N","email":"e@x","scope":"read write","roles":["r1","r2"]}"#,
    ),
    ("expired", r#"{"exp":1000000000,"iat":999999999}"#),
    ("exp-zero", r#"{"exp":0,"iat":0,"nbf":0}"#),
    ("exp-absent", r#"{"iat":IAT,"sub":"forever"}"#),
    ("exp-negative", r#"{"exp":-1,"iat":-62135596800}"#),
    ("exp-fraction", r#"{"exp":1700000000.999,"iat":1700000000.5}"#),
    ("exp-negative-fraction", r#"{"exp":-1.9,"iat":-0.5}"#),
    ("exp-exponent", r#"{"exp":1.7e9,"iat":17E+8,"nbf":1700000000000e-3}"#),
    ("exp-last", r#"{"exp":8640000000000,"iat":-8640000000000}"#),
    ("exp-beyond-last", r#"{"exp":8640000000001,"iat":IAT}"#),
    ("exp-milliseconds", r#"{"exp":1700000000000,"iat":IAT}"#),
    ("exp-huge", r#"{"exp":1e300,"iat":IAT}"#),
    ("exp-over-i64", r#"{"exp":9223372036854775808,"iat":IAT}"#),
    ("exp-text", r#"{"exp":"1700000000","iat":IAT}"#),
    ("exp-null", r#"{"exp":null,"iat":IAT}"#),
    ("exp-true", r#"{"exp":true,"iat":IAT}"#),
    ("exp-list", r#"{"exp":[1700000000],"iat":IAT}"#),
    ("exp-object", r#"{"exp":{"at":1},"iat":IAT}"#),
    ("iat-absent", r#"{"exp":EXP}"#),
    ("iat-text", r#"{"exp":EXP,"iat":"yesterday"}"#),
    ("iat-null", r#"{"exp":EXP,"iat":null}"#),
    ("iat-object", r#"{"exp":EXP,"iat":{}}"#),
    ("nbf-text", r#"{"exp":EXP,"nbf":"now"}"#),
    ("nbf-list", r#"{"exp":EXP,"nbf":[]}"#),
    ("dates-all-wrong", r#"{"exp":"a","iat":"b","nbf":"c"}"#),
    ("aud-list", r#"{"aud":["a","b","c"],"exp":EXP}"#),
    ("aud-list-of-one", r#"{"aud":["a"],"exp":EXP}"#),
    ("aud-list-empty", r#"{"aud":[],"exp":EXP}"#),
    ("aud-list-mixed", r#"{"aud":["a",1,null,{"b":"c"},["d"],"e"],"exp":EXP}"#),
    ("aud-null", r#"{"aud":null,"exp":EXP}"#),
    ("aud-object", r#"{"aud":{"a":"b"},"exp":EXP}"#),
    ("texts-numbers", r#"{"iss":1,"sub":42,"jti":-7,"name":0,"email":1.5,"exp":EXP}"#),
    ("texts-booleans", r#"{"iss":true,"sub":false,"jti":true,"name":false,"email":true,"exp":EXP}"#),
    ("texts-null", r#"{"iss":null,"sub":null,"jti":null,"name":null,"email":null,"exp":EXP}"#),
    ("texts-lists", r#"{"iss":["a"],"sub":["b"],"jti":["c"],"name":["d"],"email":["e"],"exp":EXP}"#),
    ("texts-objects", r#"{"iss":{},"sub":{"a":1},"jti":{},"name":{},"email":{},"exp":EXP}"#),
    ("texts-empty", r#"{"iss":"","sub":"","aud":"","jti":"","name":"","email":"","scope":"","roles":"","exp":EXP}"#),
    ("scope-text", r#"{"scope":"a b c","exp":EXP}"#),
    ("scope-text-spaced", r#"{"scope":"  a \t b\n a ","exp":EXP}"#),
    ("scope-list", r#"{"scope":["a b","c"],"exp":EXP}"#),
    ("scope-list-mixed", r#"{"scope":["a",1,true,null,"a","b"],"exp":EXP}"#),
    ("scope-number", r#"{"scope":7,"scp":"unused","exp":EXP}"#),
    ("scope-null-then-scp", r#"{"scope":null,"scp":"used","exp":EXP}"#),
    ("scp-text", r#"{"scp":"user.read mail.read","exp":EXP}"#),
    ("scp-list", r#"{"scp":["user.read","mail.read"],"exp":EXP}"#),
    ("roles-list", r#"{"roles":["admin","user","admin"],"exp":EXP,"iat":IAT}"#),
    ("roles-text", r#"{"roles":"site admin","exp":EXP}"#),
    ("roles-object", r#"{"roles":{"a":1},"role":"unused","exp":EXP}"#),
    ("role-text", r#"{"role":"one","exp":EXP}"#),
    ("role-list", r#"{"role":["one","two"],"exp":EXP}"#),
    ("roles-times-scopes", r#"{"roles":["r1","r2","r3"],"scope":"s1 s2","exp":EXP,"iat":IAT}"#),
    ("unicode", r#"{"sub":"日本語 ünïcödé 🦀","iss":"https://例え.jp/","name":"Ωmega","roles":["rôle"],"exp":EXP}"#),
    (
        "json-escapes",
        r#"{"\u0073ub":"a\u0062\u00e9\ud83e\udd80\/\\\"","iss":"line\nfeed\ttab","scope":"\u0061\u0020b","exp":EXP}"#,
    ),
    ("label-escapes", r#"{"sub":"back\\slash","iss":"quo\"te","name":"new\nline","roles":["a\"}\n{"],"exp":EXP}"#),
    ("control-characters", r#"{"sub":"\u0000\u001b[31m\u007f","exp":EXP}"#),
    ("repeated-members", r#"{"sub":"first","exp":1,"sub":"last","exp":EXP,"roles":["x"],"roles":["y"]}"#),
    ("nested-lookalikes", r#"{"realm":{"exp":1,"roles":["x"],"sub":"y"},"exp":EXP}"#),
    ("case-matters", r#"{"EXP":1,"Sub":"x","AUD":"y","exp":EXP}"#),
    (
        "reference-style",
        r#"{"aud":"https://api","exp":EXP,"iat":IAT,"iss":"https://issuer/","jti":"4f1g23a12aa","sub":"user@clients","scope":["read:all"],"roles":["admin"],"name":"Jane","email":"jane@example.com"}"#,
    ),
    ("deep", r#"{"x":[[[[[[[[[[{"y":[[[[[[[[[[1]]]]]]]]]]}]]]]]]]]]],"exp":EXP}"#),
];

pub(super) fn well_formed() -> Vec<Case> {
    let dated = |claims: &str| {
        let (exp, iat) = (now() + 86_400, now() - 3600);
        claims
            .replace("EXP", &exp.to_string())
            .replace("IAT", &iat.to_string())
            .replace(&format!("\"{exp}\""), "\"EXP\"")
    };
    let case = |name, header: &str, claims: &str, around, signature| {
        let (header, claims) = (header.to_owned(), dated(claims));
        Case { name, header, claims, around, signature }
    };
    let plain = |name, header: &str, claims: &str| case(name, header, claims, "*", b"signature");
    let mut cases: Vec<Case> = CLAIMS.iter().map(|(name, claims)| plain(name, HS256, claims)).collect();

    let ordinary = r#"{"sub":"s","exp":EXP,"iat":IAT}"#;
    for (name, header) in [
        ("alg-none", r#"{"alg":"none"}"#),
        ("alg-es256", r#"{"typ":"JWT","kid":"k","alg":"ES256"}"#),
        ("alg-rs256", r#"{"alg":"RS256","x5c":["MIIB"],"jwk":{"kty":"RSA","alg":"x"}}"#),
        ("alg-ps512", r#"{"alg":"PS512"}"#),
        ("alg-eddsa", r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#),
        ("alg-unknown", "{ \"alg\" : \"Grüße\\u0021\" }"),
        ("alg-empty", r#"{"alg":""}"#),
        ("alg-repeated", r#"{"alg":"HS256","alg":"HS512"}"#),
        ("typ-at-jwt", r#"{"alg":"RS256","typ":"at+jwt"}"#),
    ] {
        cases.push(plain(name, header, ordinary));
    }
    for (name, around) in [
        ("line-feed", "*\n"),
        ("white-space", " \t\r\n* \n\n"),
        ("bearer", "Bearer *"),
        ("bearer-lower", "bearer   *\n"),
        ("bearer-in-space", "\n BEARER\t* "),
    ] {
        cases.push(case(name, HS256, ordinary, around, b"signature"));
    }
    cases.push(case("signature-empty", r#"{"alg":"none"}"#, ordinary, "*", b""));
    cases.push(case("signature-long", r#"{"alg":"RS512"}"#, ordinary, "*", &[0xa5; 512]));

    let list = |count: usize| (0..count).map(|n| format!("\"text-{n}\"")).collect::<Vec<_>>().join(",");
    let (hundred, long) = (list(100), list(5000));
    cases.push(plain("roles-hundred", HS256, &format!(r#"{{"roles":[{hundred}],"exp":EXP}}"#)));
    cases.push(plain("roles-hundred-and-one", HS256, &format!(r#"{{"roles":[{hundred},"more"],"exp":EXP}}"#)));
    cases.push(plain("roles-thousands", HS256, &format!(r#"{{"roles":[{long}],"exp":EXP,"iat":IAT}}"#)));
    let scopes = hundred.replace(['"'], "").replace(',', " ");
    cases.push(plain(
        "roles-times-scopes-many",
        HS256,
        &format!(r#"{{"roles":["a","b"],"scope":"{scopes}","exp":EXP}}"#),
    ));
    cases.push(plain("aud-thousands", HS256, &format!(r#"{{"aud":[{long}],"exp":EXP}}"#)));
    for (name, text) in [
        ("long-512", "x".repeat(512)),
        ("long-513", "x".repeat(513)),
        ("long-two-byte", "é".repeat(400)),
        ("long-three-byte", format!("a{}", "語".repeat(400))),
        ("long-four-byte", format!("ab{}", "🦀".repeat(400))),
        ("long-quotes", "\\\"".repeat(600)),
        ("long-very", "y".repeat(50_000)),
    ] {
        let claims = format!(r#"{{"sub":"{text}","iss":"{text}","roles":["{text}"],"exp":EXP}}"#);
        cases.push(plain(name, HS256, &claims));
    }
    cases
}

/// Name, value and reason of what cannot be read.
pub(super) fn broken() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let encoded = |text: &str| base64url(text.as_bytes());
    let (header, claims, signature) =
        (encoded(HS256), encoded(r#"{"sub":"x","exp":2000000000}"#), encoded("signature"));
    let token = |header: &str, claims: &str| format!("{}.{}.{signature}", encoded(header), encoded(claims));
    let padded = format!("{header}.{}==.{signature}", encoded("{\"a\":11}").trim_end_matches('='));
    let standard = "eyJhbGciOiJIUzI1NiJ9.eyJuIjoi8J+mgPCfpoDwn6aAPz8/In0.c2ln";
    let table: Vec<(&'static str, String, &'static str)> = vec![
        ("x-empty", String::new(), "no_token"),
        ("x-only-space", " \n\t ".into(), "no_token"),
        ("x-only-bearer", "Bearer ".into(), "not_a_jwt"),
        ("x-word", "hunter2".into(), "not_a_jwt"),
        ("x-one-dot", format!("{header}.{claims}"), "not_a_jwt"),
        ("x-three-dots", format!("{header}.{claims}.{signature}."), "not_a_jwt"),
        ("x-five-dots", format!("{header}.{claims}.{signature}...").clone(), "not_a_jwt"),
        ("x-only-dots", "..".into(), "invalid_header"),
        ("x-no-header", format!(".{claims}.{signature}"), "invalid_header"),
        ("x-no-claims", format!("{header}..{signature}"), "invalid_claims"),
        ("x-header-padded", format!("{header}==.{claims}.{signature}"), "invalid_header"),
        ("x-claims-padded", padded, "invalid_claims"),
        ("x-claims-standard-base64", standard.into(), "invalid_claims"),
        ("x-signature-padded", format!("{header}.{claims}.{signature}="), "not_a_jwt"),
        ("x-signature-not-base64", format!("{header}.{claims}.sig!nature"), "not_a_jwt"),
        ("x-signature-cut", format!("{header}.{claims}.A"), "not_a_jwt"),
        ("x-space-inside", format!("{header}. {claims}.{signature}"), "invalid_claims"),
        ("x-line-feed-inside", format!("{header}.{}\n{}.{signature}", &claims[..8], &claims[8..]), "invalid_claims"),
        ("x-header-not-base64", format!("{header}*.{claims}.{signature}"), "invalid_header"),
        ("x-header-no-json", token("alg", "{}"), "invalid_header"),
        ("x-header-list", token("[\"alg\"]", "{}"), "invalid_header"),
        ("x-header-text", token("\"HS256\"", "{}"), "invalid_header"),
        ("x-header-cut", token("{\"alg\":\"HS256\"", "{}"), "invalid_header"),
        ("x-header-trailing", token("{\"alg\":\"HS256\"}}", "{}"), "invalid_header"),
        ("x-alg-absent", token("{\"typ\":\"JWT\"}", "{}"), "invalid_header"),
        ("x-alg-number", token("{\"alg\":256}", "{}"), "invalid_header"),
        ("x-alg-null", token("{\"alg\":null}", "{}"), "invalid_header"),
        ("x-claims-no-json", token(HS256, "sub=x"), "invalid_claims"),
        ("x-claims-list", token(HS256, "[]"), "invalid_claims"),
        ("x-claims-text", token(HS256, "\"sub\""), "invalid_claims"),
        ("x-claims-number", token(HS256, "1"), "invalid_claims"),
        ("x-claims-null", token(HS256, "null"), "invalid_claims"),
        ("x-claims-cut", token(HS256, "{\"sub\":\"x\","), "invalid_claims"),
        ("x-claims-trailing", token(HS256, "{} {}"), "invalid_claims"),
        ("x-claims-single-quotes", token(HS256, "{'sub':'x'}"), "invalid_claims"),
        ("x-claims-nan", token(HS256, "{\"exp\":NaN}"), "invalid_claims"),
        ("x-claims-leading-zero", token(HS256, "{\"exp\":01}"), "invalid_claims"),
        (
            "x-claims-deep",
            token(HS256, &format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))),
            "too_large",
        ),
        (
            "x-claims-deep-but-small",
            token(HS256, &format!("{{\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000))),
            "invalid_claims",
        ),
        ("x-json-cut", "{\"token\":".into(), "invalid_document"),
        ("x-json-without-token", "{\"token\":\"none\"}".into(), "no_token"),
        ("x-pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(), "not_a_jwt"),
        ("x-basic", "Basic dXNlcjpwYXNzd29yZA==".into(), "not_a_jwt"),
        ("x-cookie", format!("session={header}.{claims}.{signature}"), "invalid_header"),
        ("x-two-tokens", format!("{header}.{claims}.{signature}\n{header}.{claims}.{signature}"), "not_a_jwt"),
    ];
    let mut broken: Vec<(&'static str, Vec<u8>, &'static str)> =
        table.into_iter().map(|(name, value, reason)| (name, value.into_bytes(), reason)).collect();
    broken.push(("x-binary", (0..=255).collect(), "not_a_jwt"));
    broken.push(("x-utf-16", "\u{feff}eyJ.eyJ.c2ln".encode_utf16().flat_map(u16::to_le_bytes).collect(), "not_a_jwt"));
    broken.push(("x-byte-order-mark", format!("\u{feff}{header}.{claims}.{signature}").into_bytes(), "invalid_header"));
    let latin = [header.as_bytes(), b".", base64url(b"{\"sub\":\"\xe9\"}").as_bytes(), b".c2ln"].concat();
    broken.push(("x-claims-latin-1", latin, "invalid_claims"));
    broken.push(("x-megabyte", vec![b'e'; 1_000_000], "too_large"));
    broken
}
