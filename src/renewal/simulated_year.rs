//! A year of one renewal in a second: the real decisions over a made-up Secret, a made-up endpoint and a clock that jumps
//! from one try to the next.

use super::admission::Admission;
use super::attempt::{Claiming, Held, InHand, Issuer, Outcome, Target, Terms, attempt};
use super::claim::Claim;
use super::course::{Course, Next, Policy};
use super::reason::{Failure, Reason};
use super::report;
use super::schedule::BeforeExpiry;
use super::verdict::Found;
use crate::redacted::Redacted;
use crate::time::UnixSeconds;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const LIFE: i64 = 12 * HOUR;
/// 2026-01-01T00:00:00Z
const START: UnixSeconds = UnixSeconds(1_767_225_600);
const POLICY: Policy = Policy { before_expiry: BeforeExpiry::Share(2_000), first: 10, most: 600 };

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn jwt(issued: UnixSeconds) -> String {
    let claims = format!(r#"{{"iat":{},"exp":{}}}"#, issued.0, issued.0 + LIFE);
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(claims))
}

/// The Secret as the API server has it, the endpoint, and what happened to both.
struct World {
    now: Cell<UnixSeconds>,
    chance: RefCell<Chance>,
    value: RefCell<String>,
    claim: RefCell<Option<Claim>>,
    version: Cell<u64>,
    writes: RefCell<Vec<UnixSeconds>>,
    asked: Cell<u32>,
    failing: f64,
    /// Hours of the year in which the endpoint is down: from, until.
    outages: Vec<(UnixSeconds, UnixSeconds)>,
    /// The credentials are wrong from, until.
    wrong: (UnixSeconds, UnixSeconds),
    /// How long an answer takes.
    pace: i64,
    conflicts: f64,
}

impl World {
    fn new(seed: u64) -> Rc<Self> {
        let mut chance = Chance(seed);
        let month = |n: i64| START.plus(n * 365 * DAY / 12 + (chance.next() * 20.0 * DAY as f64) as i64);
        let outages = (0..12).map(month).map(|from| (from, from.plus(2 * HOUR))).collect();
        Rc::new(Self {
            now: Cell::new(START),
            chance: RefCell::new(chance),
            value: RefCell::default(),
            claim: RefCell::default(),
            version: Cell::new(1),
            writes: RefCell::default(),
            asked: Cell::new(0),
            failing: 0.2,
            outages,
            wrong: (UnixSeconds(0), UnixSeconds(0)),
            pace: 2,
            conflicts: 0.02,
        })
    }

    fn is_in(&self, (from, until): (UnixSeconds, UnixSeconds)) -> bool {
        (from..until).contains(&self.now.get())
    }

    fn pass(&self, seconds: i64) {
        self.now.set(self.now.get().plus(seconds));
    }

    fn chance(&self) -> f64 {
        self.chance.borrow_mut().next()
    }
}

/// One replica's view of the Secret.
struct Seen(Rc<World>, u64);

impl Seen {
    /// Somebody else touches the Secret now and then.
    fn precondition(&self) -> bool {
        if self.0.chance() < self.0.conflicts {
            self.0.version.set(self.0.version.get() + 1);
        }
        self.1 == self.0.version.get()
    }

    fn changed(&mut self) -> bool {
        self.1 += 1;
        self.0.version.set(self.1);
        true
    }
}

impl Target for Seen {
    fn read(&mut self) -> Result<Held, Failure> {
        self.1 = self.0.version.get();
        Ok(Held {
            found: Found::of(self.0.value.borrow().as_bytes()),
            claim: self.0.claim.borrow().clone(),
            logins: None,
        })
    }

    fn claim(&mut self, claim: &Claim) -> Result<Claiming, Failure> {
        if !self.precondition() {
            return Ok(Claiming::Changed);
        }
        *self.0.claim.borrow_mut() = Claim::parse(&claim.to_string());
        self.changed();
        Ok(Claiming::Ours)
    }

    fn write(&mut self, token: &Redacted) -> Result<bool, Failure> {
        if self.0.chance() < 0.01 {
            return Err(Failure::new(Reason::TargetUnavailable, "patch secrets: status 503"));
        }
        Ok(self.precondition() && {
            *self.0.value.borrow_mut() = token.expose().to_owned();
            *self.0.claim.borrow_mut() = None;
            self.0.writes.borrow_mut().push(self.0.now.get());
            self.changed()
        })
    }
}

struct Endpoint(Rc<World>);

impl Issuer for Endpoint {
    fn ask(&mut self) -> Result<Redacted, Failure> {
        let world = &self.0;
        world.asked.set(world.asked.get() + 1);
        world.pass(world.pace);
        if world.outages.iter().any(|outage| world.is_in(*outage)) {
            return Err(Failure::new(Reason::Connect, "POST https://cpd.example:443: connection refused"));
        }
        if world.is_in(world.wrong) {
            return Err(Failure::new(Reason::CredentialsRefused, "POST https://cpd.example:443: status 401"));
        }
        if world.chance() < world.failing {
            return Err(Failure::new(Reason::ServerError, "POST https://cpd.example:443: status 503"));
        }
        Ok(Redacted::new(jwt(world.now.get())))
    }
}

/// A replica of the program.
struct Replica {
    name: String,
    course: Course,
    in_hand: InHand,
}

impl Replica {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), course: Course::new(POLICY), in_hand: None }
    }

    fn attempt(&mut self, world: &Rc<World>) -> Outcome {
        let now = || world.now.get();
        let terms = Terms {
            holder: &self.name,
            claim_seconds: 90,
            clock: &now,
            is_leaving: &|| false,
            admits: &|_, _| Admission::Granted,
        };
        let (mut seen, mut endpoint) = (Seen(Rc::clone(world), 0), Endpoint(Rc::clone(world)));
        let random: &mut dyn FnMut() -> f64 = &mut || world.chance();
        attempt(&mut self.course, &mut self.in_hand, &mut seen, &mut endpoint, &terms, random)
    }

    /// When it acts next: at its own time, or when it looks again anyway.
    fn next(&self, now: UnixSeconds) -> UnixSeconds {
        // More seldom than in earnest, for the test's speed.
        let look = now.plus(1_800);
        match self.course.next() {
            Next::Unknown => now,
            Next::At(at) => at.max(now).min(look),
            Next::Never => look,
        }
    }
}

/// Lets the replicas run until `end`, and gives the log. `each` sees every moment at which something happened.
fn run(world: &Rc<World>, replicas: &mut [Replica], end: UnixSeconds, mut each: impl FnMut(&World)) -> Vec<String> {
    let mut log = Vec::new();
    let mut due: Vec<UnixSeconds> = replicas.iter().map(|_| START).collect();
    loop {
        let (who, at) = due.iter().copied().enumerate().min_by_key(|(_, at)| *at).unwrap();
        if at >= end {
            return log;
        }
        world.now.set(world.now.get().max(at));
        each(world);
        let replica = &mut replicas[who];
        let outcome = replica.attempt(world);
        let now = world.now.get();
        let line = report::line(&outcome, &replica.course, now).filter(|(level, _)| *level <= log::Level::Info);
        if let Some((level, line)) = line {
            log.push(format!(
                "{now} {} [{level}] renewal of datagate/prometheus-bearer-token (key token): {line}",
                replica.name
            ));
        }
        due[who] = replica.next(now).max(at.plus(1));
    }
}

fn seed() -> u64 {
    match std::env::var("RENEWAL_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => RandomState::new().hash_one(0),
    }
}

/// The first moments without a valid token, if there are any, and how many renewals there were.
fn check_coverage(world: &World, end: UnixSeconds) -> usize {
    let writes = world.writes.borrow();
    assert!(writes[0].since(START) < HOUR, "the first token came late: {}", writes[0]);
    for pair in writes.windows(2) {
        let gap = pair[1].since(pair[0].plus(LIFE));
        assert!(gap <= 0, "no valid token for {gap} s before {}", pair[1]);
        assert!(pair[1].since(pair[0]) > LIFE / 2, "renewed twice in a row: {}, {}", pair[0], pair[1]);
    }
    assert!(end.since(writes[writes.len() - 1]) < LIFE);
    writes.len()
}

/// Several years, since chance makes of one whatever it likes: one outage more or less at the wrong hour is twenty requests.
fn check_years(names: &[&str]) {
    let first = seed();
    println!("RENEWAL_SEED={first}");
    let end = START.plus(365 * DAY);
    let (mut asked, mut renewals) = (0, 0);
    for year in 0..5 {
        let world = World::new(first.wrapping_add(year));
        let mut replicas: Vec<Replica> = names.iter().map(|name| Replica::new(name)).collect();
        let log = run(&world, &mut replicas, end, |_| {});
        let this_year = check_coverage(&world, end);
        assert!((800..1_100).contains(&this_year), "{this_year} renewals");
        asked += world.asked.get();
        renewals += this_year;
        assert!(log.iter().all(|line| !line.contains("[ERROR]") || line.contains("there is no token")), "{log:#?}");
    }
    let requests = f64::from(asked) / renewals as f64;
    println!("{renewals} renewals, {requests:.3} requests each");
    assert!(requests <= 1.4, "{requests} requests per renewal");
    assert!(requests >= 1.05, "the endpoint did not fail: {requests}");
}

#[test]
fn a_year_without_a_minute_that_has_no_valid_token() {
    check_years(&["a"]);
}

#[test]
fn a_year_of_three_replicas_is_one_of_as_many_requests() {
    check_years(&["a", "b", "c"]);
}

#[test]
fn wrong_credentials_are_tried_once_in_ten_minutes_by_all_replicas_together() {
    let seed = seed();
    println!("RENEWAL_SEED={seed}");
    let world = World::new(seed);
    let mut world = Rc::into_inner(world).unwrap();
    world.outages.clear();
    // Others touch the Secret at every fifth write.
    world.conflicts = 0.2;
    (world.failing, world.wrong) = (0.0, (START, START.plus(5 * HOUR)));
    let world = Rc::new(world);
    // A replica that starts anew again and again, as a pod that crashes, and two that stay.
    let mut tries = Vec::new();
    let mut replicas = [Replica::new("a"), Replica::new("b")];
    for n in 0..60 {
        let mut crashing = Replica::new(&format!("c{n}"));
        let before = world.asked.get();
        crashing.attempt(&world);
        tries.push(world.asked.get() - before);
        for replica in &mut replicas {
            if replica.next(world.now.get()) <= world.now.get() {
                replica.attempt(&world);
            }
        }
        world.pass(60);
    }
    assert!(world.asked.get() <= 7, "{} requests in an hour", world.asked.get());
    assert!(world.asked.get() >= 4, "{} requests in an hour", world.asked.get());
}

#[test]
fn two_days_in_the_log() {
    let mut world = Rc::into_inner(World::new(7)).unwrap();
    world.outages = vec![(START.plus(18 * HOUR), START.plus(20 * HOUR))];
    world.wrong = (START.plus(38 * HOUR), START.plus(40 * HOUR));
    let world = Rc::new(world);
    let mut log =
        run(&world, &mut [Replica::new("exporter-a"), Replica::new("exporter-b")], START.plus(2 * DAY), |_| {});
    log.push(String::new());
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/renewal/two_days.log");
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "rewrite") {
        std::fs::create_dir_all(std::path::Path::new(golden).parent().unwrap()).unwrap();
        std::fs::write(golden, log.join("\n")).unwrap();
    }
    assert_eq!(log.join("\n"), std::fs::read_to_string(golden).unwrap());
}
