//! The two forms of a connection string (PostgreSQL's manual, 34.1.1): `postgres://...` and `keyword = value ...`.

use super::parameters::Parameters;
use crate::config::mistake::Complaint;
use percent_encoding::percent_decode_str;

/// What a piece of the url would be confused by.
const ENCODE: &str = "a `@`, `:`, `/`, `?`, `#`, `%` or space in a name or password is percent-encoded, such as %40 for `@`";

pub(super) fn parse(url: &str, complaints: &mut Vec<Complaint>) -> Parameters {
    let mut found = Parameters::default();
    let result = match url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")) {
        Some(rest) => parse_uri(rest, &mut found, complaints),
        None if url.contains("://") => {
            let hint = "it starts with `postgres://` or `postgresql://`, or is `host=... port=... dbname=...`";
            Err(Complaint::new("the url is of a scheme that is not PostgreSQL's").hint(hint))
        }
        None if !url.contains('=') => {
            Err(Complaint::new("the url is neither `postgres://user@host:port/database` nor `keyword=value ...`")
                .hint("such as postgres://tablelift@db.internal:5432/shop"))
        }
        None => parse_keywords(url, &mut found, complaints),
    };
    complaints.extend(result.err());
    found
}

/// `[user[:password]@][host[:port],...][/database][?name=value&...]`, everything percent-encoded.
fn parse_uri(rest: &str, found: &mut Parameters, complaints: &mut Vec<Complaint>) -> Result<(), Complaint> {
    let mut set = |name: &str, value: &str| {
        found.set(name, value, "the url", complaints);
    };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(authority_end);
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        set("user", &decode(user)?);
        set("password", &decode(password)?);
    }
    let (names, ports) = split_hosts(hosts)?;
    set("host", &decode(&names.join(","))?);
    if ports.iter().any(|port| !port.is_empty()) {
        set("port", &ports.join(","));
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    set("dbname", &decode(path.strip_prefix('/').unwrap_or(path))?);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Complaint::new("the url has a parameter without `=`").hint(ENCODE));
        };
        match (decode(name)?.as_str(), decode(value)?.as_str()) {
            // libpq's courtesy to JDBC.
            ("ssl", "true") => set("sslmode", "require"),
            (name, value) => set(name, value),
        }
    }
    Ok(())
}

/// Names and ports of `host:port,[::1]:port,...`, a port empty where there is none.
fn split_hosts(hosts: &str) -> Result<(Vec<&str>, Vec<&str>), Complaint> {
    let mut found = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, behind) = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(|| Complaint::new("the url has a `[` without `]`"))?,
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let port = match (behind.strip_prefix(':'), behind) {
            (Some(port), _) => port,
            (None, "") => "",
            (None, _) => return Err(Complaint::new("the url has something between `]` and the port").hint(ENCODE)),
        };
        found.0.push(name);
        found.1.push(port);
    }
    Ok(found)
}

fn decode(piece: &str) -> Result<String, Complaint> {
    let wrong = || Complaint::new("the url has a `%` without two hexadecimal digits of a character behind it").hint(ENCODE);
    for (at, _) in piece.match_indices('%') {
        let digits = piece.as_bytes().get(at + 1..at + 3).ok_or_else(wrong)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) || digits == b"00" {
            return Err(wrong());
        }
    }
    Ok(percent_decode_str(piece).decode_utf8().map_err(|_| wrong())?.into_owned())
}

/// `keyword = value`, a value in single quotes where it holds spaces, backslash before a quote or a backslash.
fn parse_keywords(text: &str, found: &mut Parameters, complaints: &mut Vec<Complaint>) -> Result<(), Complaint> {
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((name, value)) = rest.split_once('=') else {
            return Err(Complaint::new("the url has a keyword without `=`").hint("a value with spaces stands in single quotes"));
        };
        let (value, behind) = take_value(value.trim_start())?;
        found.set(name.trim_end(), &value, "the url", complaints);
        rest = behind.trim_start();
    }
    Ok(())
}

pub(super) fn take_value(text: &str) -> Result<(String, &str), Complaint> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            _ if c.is_ascii_whitespace() && !quoted => return Ok((value, &text[at..])),
            _ => value.push(c),
        }
    }
    if quoted { Err(Complaint::new("the url has a value without its closing single quote")) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 7] = ["user", "password", "host", "port", "dbname", "sslmode", "options"];

    fn read(url: &str) -> Result<String, String> {
        let mut complaints = Vec::new();
        let found = parse(url, &mut complaints);
        match complaints.into_iter().next() {
            None => Ok(NAMES.map(|name| found.get(name).unwrap_or("-").to_owned()).join("|")),
            Some(complaint) => Err(complaint.what),
        }
    }

    #[test]
    fn urls_of_both_forms() {
        for (url, expected) in [
            ("postgres://", "-|-|-|-|-|-|-"),
            ("postgresql:///db", "-|-|-|-|db|-|-"),
            (
                "postgres://u:p%40ss%3A@h:5433/d%20b?sslmode=verify-full&options=-c%20a%3Db",
                "u|p@ss:|h|5433|d b|verify-full|-c a=b",
            ),
            ("postgres://u@h1:1,h2,[::1]:3/db", "u|-|h1,h2,::1|1,,3|db|-|-"),
            ("postgres://%2Frun%2Fpg:5433/db", "-|-|/run/pg|5433|db|-|-"),
            ("postgres://u@/db?host=/run/pg&port=7", "u|-|/run/pg|7|db|-|-"),
            ("postgres://u:@h?ssl=true", "u|-|h|-|-|require|-"),
            ("postgres://u:a@b@h/db", "u|a@b|h|-|db|-|-"),
            ("host=h port = 5 password='a b\\'c\\\\' user=o\\ p", "o p|a b'c\\|h|5|-|-|-"),
            ("dbname=''", "-|-|-|-|-|-|-"),
        ] {
            assert_eq!(read(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn no_complaint_repeats_a_piece_of_the_url() {
        for url in [
            "mysql://u:hunter2@h/d",
            "hunter2",
            "postgres://u:hunter2%@h/d",
            "postgres://u:hunter2%zz@h/d",
            "postgres://u:hunter2?x@h/d",
            "postgres://u:hunter2?x=y@h/d",
            "postgres://u:x@[hunter2",
            "postgres://u:x@[::1]hunter2",
            "host=h hunter2",
            "password='hunter2",
            "postgres://u:x@h?hunter2=1",
            "postgres://u:x@h?requirepeer=hunter2",
            "postgres://u:x@h?channel_binding=hunter2",
            "postgres://u:%ff%fehunter2@h",
        ] {
            let text = read(url).unwrap_err();
            assert!(!text.contains("hunter2"), "{url}: {text}");
        }
    }
}
