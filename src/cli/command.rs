//! The commands, what each of them takes, and what their `-help` prints.

/// What stands before, between or behind the flags: what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// None: the exporter itself.
    Run,
    /// `check`
    Check,
    /// `inspect`
    Inspect,
    /// `explain`
    Explain,
    /// `renew`
    Renew,
}

const USAGE: &str = "\
Usage: jwt-exporter [flags]
       jwt-exporter check [flags]
       jwt-exporter inspect [flags] [FILE|-]...
       jwt-exporter explain [flags] NAMESPACE/NAME
       jwt-exporter renew -dry-run [flags]

Tells Prometheus when the JSON Web Tokens in Kubernetes Secrets and manifests expire.

Commands (\"jwt-exporter COMMAND -help\" says more):
  check             look at every source once and print a table, what expires first on top
  inspect           decode tokens from files or standard input
  explain           say why a Secret has its samples, or has none
  renew             with -dry-run: show what the renewals would do now

Flags (one dash or two, \"-flag value\" or \"-flag=value\", the last one wins):
  -config PATH      configuration file; ~ and $VAR are expanded (default /config/config.yaml)
  -level LEVEL      log level: trace, debug, info, warn, error or off (default info)
  -log-format NAME  text, or json: one object a line (default text)
  -once PATH        poll every source once, write the exposition to PATH (- is standard output), and exit
  -check-config     check the configuration, say what it would do, and exit with 0 or 2
  -version          print version and commit, and exit
  -help, -h         print this, and exit
";

const CHECK_USAGE: &str = "\
Usage: jwt-exporter check [flags]

Looks at every source of the configuration once and prints a table, what expires first on top. Nothing is served or renewed.

  -config PATH              configuration file; ~ and $VAR are expanded (default /config/config.yaml)
  -expiring-within TIME     what expires within this time is not well: 12h, 7d (default 7d)
  -output FORMAT            table, json or csv (default table)
  -level LEVEL              log level: trace, debug, info, warn, error or off (default error)
  -log-format NAME          text, or json: one object a line (default text)

The table is as wide as the terminal, or as the variable COLUMNS says, and coloured on a terminal unless NO_COLOR is set.
Exit codes: 0 all well; 1 a token is expired, expires within the time, cannot be read, or would be refused by a login that it
is meant for, now or within the time; 2 a source could not be read.
";

const INSPECT_USAGE: &str = "\
Usage: jwt-exporter inspect [flags] [FILE|-]...

Decodes the tokens in files, or in standard input: a token, lines with tokens, a JSON document, a kubeconfig, Secret
manifests. Says what is odd about each. No signature is verified, and none is printed.

  -output FORMAT            text or json (default text)
  -login NAME/ROLE          explain instead whether this login of the configuration would let the one token in a file in;
                            asks the servers that the configuration names
  -config PATH              with -login: configuration file (default /config/config.yaml)

Exit codes: 0 all decoded, or let in; 1 one could not be decoded, there is none, or it is not let in; 2 a file could not be
read.
";

const EXPLAIN_USAGE: &str = "\
Usage: jwt-exporter explain [flags] NAMESPACE/NAME|PATH

Says why this Secret has its samples, or has none: what of the configuration takes it or passes it over, which data keys are
read, what came of each, and which of the logins that it names would refuse it. The same of a file, by its path (/token,
./token). No value is printed. Asks the servers that the configuration names.

  -config PATH              configuration file; ~ and $VAR are expanded (default /config/config.yaml)
  -level LEVEL              log level: trace, debug, info, warn, error or off (default error)
  -log-format NAME          text, or json: one object a line (default text)

Exit codes: 0 it has samples; 1 it has none; 2 that could not be found out.
";

const RENEW_USAGE: &str = "\
Usage: jwt-exporter renew -dry-run [flags]

Shows what the renewals of the configuration would do now, and what is in their way. Asks the API server, no endpoint, and
writes nothing: only the running exporter renews.

  -config PATH              configuration file; ~ and $VAR are expanded (default /config/config.yaml)
  -dry-run                  must be there
  -level LEVEL              log level: trace, debug, info, warn, error or off (default error)
  -log-format NAME          text, or json: one object a line (default text)

Exit codes: 0 nothing is in the way; 1 something is; 2 the command line or the configuration is wrong.
";

impl Command {
    /// What `-help` prints, and every usage error after its reason.
    #[must_use]
    pub fn usage(self) -> &'static str {
        match self {
            Self::Run => USAGE,
            Self::Check => CHECK_USAGE,
            Self::Inspect => INSPECT_USAGE,
            Self::Explain => EXPLAIN_USAGE,
            Self::Renew => RENEW_USAGE,
        }
    }

    /// As it is typed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Run => "jwt-exporter",
            Self::Check => "check",
            Self::Inspect => "inspect",
            Self::Explain => "explain",
            Self::Renew => "renew",
        }
    }

    /// The command of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Check, Self::Inspect, Self::Explain, Self::Renew].into_iter().find(|command| command.name() == name)
    }

    /// Whether a flag of this name is one of its own.
    pub(super) fn takes(self, flag: &str) -> bool {
        match flag {
            "config" | "level" | "log-format" => self != Self::Inspect,
            "output" => matches!(self, Self::Check | Self::Inspect),
            "login" => self == Self::Inspect,
            "expiring-within" => self == Self::Check,
            "dry-run" => self == Self::Renew,
            _ => self == Self::Run,
        }
    }
}

/// The names of the commands that take a flag.
pub(super) fn commands_with(flag: &str) -> Vec<&'static str> {
    let all = [Command::Check, Command::Inspect, Command::Explain, Command::Renew].into_iter();
    all.filter(|command| command.takes(flag)).map(Command::name).collect()
}
