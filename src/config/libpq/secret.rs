//! A url without its password: for a file that people share.

use super::text::take_value;
use percent_encoding::percent_decode_str;

/// The url with `${variable}` where its password stands, and the password as it stands there. One that is a variable already is left.
pub(in crate::config) fn hide(url: &str, variable: &str) -> (String, Option<String>) {
    let placed = format!("${{{variable}}}");
    let is_secret = |text: &str| !(text.is_empty() || text.starts_with("${") && text.ends_with('}'));
    let Some((scheme, rest)) = url.split_once("://") else { return hide_keyword(url, &placed, is_secret) };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let mut secret = None;
    let mut out = format!("{scheme}://");
    match authority.rsplit_once('@') {
        Some((login, hosts)) => match login.split_once(':') {
            Some((user, password)) if is_secret(password) => {
                secret = Some(password.to_owned());
                out.push_str(&format!("{user}:{placed}@{hosts}"));
            }
            _ => out.push_str(authority),
        },
        None => out.push_str(authority),
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    out.push_str(path);
    for (at, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value)) if is_password(name) && is_secret(value) => {
                secret = Some(value.to_owned());
                out.push_str(&format!("password={placed}"));
            }
            _ => out.push_str(pair),
        }
    }
    (out, secret)
}

fn is_password(name: &str) -> bool {
    percent_decode_str(name).decode_utf8_lossy() == "password"
}

/// `keyword = value ...`.
fn hide_keyword(text: &str, placed: &str, is_secret: impl Fn(&str) -> bool) -> (String, Option<String>) {
    let (mut parts, mut secret, mut rest) = (Vec::new(), None, text.trim_start());
    while let Some((name, value)) = rest.split_once('=') {
        let Ok((value, behind)) = take_value(value.trim_start()) else { break };
        let name = name.trim_end();
        let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
        if name == "password" && is_secret(&value) {
            secret = Some(escaped);
            parts.push(format!("password='{placed}'"));
        } else {
            parts.push(format!("{name}='{escaped}'"));
        }
        rest = behind.trim_start();
    }
    (parts.join(" "), secret)
}

#[cfg(test)]
mod tests {
    use super::hide;

    #[test]
    fn no_password_is_left() {
        for (url, expected, secret) in [
            ("postgres://u:hunter2@h:5/d?sslmode=require", "postgres://u:${V}@h:5/d?sslmode=require", Some("hunter2")),
            ("postgres://u:a@b%40@h", "postgres://u:${V}@h", Some("a@b%40")),
            ("postgresql://h/d?user=u&p%61ssword=x%26y", "postgresql://h/d?user=u&password=${V}", Some("x%26y")),
            ("postgres://u:${PW}@h/d", "postgres://u:${PW}@h/d", None),
            ("postgres://u:@h/d", "postgres://u:@h/d", None),
            ("postgres:///d", "postgres:///d", None),
            ("host=h password = 'it\\'s' user=u", "host='h' password='${V}' user='u'", Some("it\\'s")),
            ("dbname='a b'", "dbname='a b'", None),
        ] {
            assert_eq!(hide(url, "V"), (expected.to_owned(), secret.map(str::to_owned)), "{url}");
        }
    }
}
