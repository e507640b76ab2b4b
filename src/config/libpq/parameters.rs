//! The parameters of a connection that libpq knows (PostgreSQL's manual, 34.1.2), and what becomes of each here.

use crate::config::mistake::Complaint;
use crate::config::nearest::nearest;
use crate::config::substitute::Environment;
use std::collections::BTreeMap;

#[derive(Clone, Copy)]
enum Use {
    Read,
    /// Known and without effect here: harmless, or what we do anyway.
    Ignored,
    /// Only these values ask for nothing that we lack. To ignore another could be less safe than was asked for.
    Only(&'static [&'static str]),
}
use Use::{Ignored, Only, Read};

/// Name, environment variable, use.
const KNOWN: &[(&str, Option<&str>, Use)] = &[
    ("host", Some("PGHOST"), Read),
    ("hostaddr", Some("PGHOSTADDR"), Read),
    ("port", Some("PGPORT"), Read),
    ("user", Some("PGUSER"), Read),
    ("password", Some("PGPASSWORD"), Read),
    ("passfile", Some("PGPASSFILE"), Read),
    ("dbname", Some("PGDATABASE"), Read),
    ("service", Some("PGSERVICE"), Read),
    ("servicefile", Some("PGSERVICEFILE"), Read),
    ("options", Some("PGOPTIONS"), Read),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT"), Read),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Read),
    ("sslmode", Some("PGSSLMODE"), Read),
    ("sslrootcert", Some("PGSSLROOTCERT"), Read),
    ("sslcert", Some("PGSSLCERT"), Read),
    ("sslkey", Some("PGSSLKEY"), Read),
    ("application_name", None, Ignored),
    ("fallback_application_name", None, Ignored),
    ("client_encoding", None, Ignored),
    ("keepalives", None, Ignored),
    ("keepalives_idle", None, Ignored),
    ("keepalives_interval", None, Ignored),
    ("keepalives_count", None, Ignored),
    ("tcp_user_timeout", None, Ignored),
    ("load_balance_hosts", None, Ignored),
    ("krbsrvname", None, Ignored),
    ("gsslib", None, Ignored),
    ("sslcompression", None, Ignored),
    ("sslsni", None, Ignored),
    ("ssl_max_protocol_version", None, Ignored),
    ("min_protocol_version", None, Ignored),
    ("max_protocol_version", None, Ignored),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION"), Only(&["TLSv1", "TLSv1.1", "TLSv1.2"])),
    ("gssencmode", Some("PGGSSENCMODE"), Only(&["disable", "prefer"])),
    ("gssdelegation", Some("PGGSSDELEGATION"), Only(&["0"])),
    ("channel_binding", Some("PGCHANNELBINDING"), Only(&["disable", "prefer"])),
    ("sslnegotiation", Some("PGSSLNEGOTIATION"), Only(&["postgres"])),
    ("sslcertmode", Some("PGSSLCERTMODE"), Only(&["disable", "allow"])),
    ("require_auth", Some("PGREQUIREAUTH"), Only(&[])),
    ("requirepeer", Some("PGREQUIREPEER"), Only(&[])),
    ("sslcrl", Some("PGSSLCRL"), Only(&[])),
    ("sslcrldir", Some("PGSSLCRLDIR"), Only(&[])),
    ("sslpassword", None, Only(&[])),
    ("replication", None, Only(&[])),
];

/// Values by the parameter's name. An empty value is none, as in libpq.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Takes the value as given last. `origin` says where it stands, as in `the url`.
    pub fn set(&mut self, name: &str, value: &str, origin: &str, complaints: &mut Vec<Complaint>) {
        let Some((known, _, usage)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
            let complaint = Complaint::new(format!("{origin} has a parameter that is unknown"));
            let hint = match nearest(name, KNOWN.iter().map(|(known, ..)| *known)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "in a url, a `?` or `&` that belongs to a value is written %3F, %26".into(),
            };
            return complaints.push(complaint.hint(hint));
        };
        check(known, *usage, value, origin, complaints);
        if !value.is_empty() {
            self.0.insert(known, value.to_owned());
        }
    }

    /// Takes what is not given yet from `other`.
    pub fn fill_from(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    pub fn from_environment(env: Environment<'_>, complaints: &mut Vec<Complaint>) -> Self {
        let mut found = Self::default();
        for (name, variable, _) in KNOWN {
            if let Some((variable, value)) = variable.and_then(|variable| Some((variable, env(variable)?))) {
                found.set(name, &value, &format!("the environment ({variable})"), complaints);
            }
        }
        found
    }
}

fn check(name: &str, usage: Use, value: &str, origin: &str, complaints: &mut Vec<Complaint>) {
    let Only(allowed) = usage else { return };
    if value.is_empty() || allowed.contains(&value) {
        return;
    }
    let complaint = Complaint::new(format!("{origin} asks for a `{name}` that is not supported"));
    complaints.push(match allowed {
        [] => complaint.hint(format!("leave `{name}` out")),
        _ => complaint.hint(format!("supported: {}", allowed.join(", "))),
    });
}
