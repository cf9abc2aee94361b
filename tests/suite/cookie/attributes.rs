//! Attributes of a cookie, and the rules of prefixed names.

use hyper_session::cookie::{Attributes, CookieError, CookieName, Priority, SameSite, SetCookie};

fn template(name: &str, attributes: Attributes) -> Result<SetCookie, CookieError> {
    SetCookie::new(CookieName::new(name).unwrap(), attributes)
}

/// Returns all attributes, for cookies on a domain and its subdomains.
fn all_attributes() -> Attributes {
    Attributes::default()
        .path("/app")
        .domain("example.org")
        .same_site(SameSite::None)
        .partitioned(true)
        .priority(Priority::High)
}

#[test]
fn a_prefixed_name_brings_its_rules() {
    let secure = Attributes::default();
    let plain = Attributes::default().secure(false);
    let scripted = Attributes::default().http_only(false);
    let deep = Attributes::default().path("/app");
    let wide = Attributes::default().domain("example.org");
    // Accepted:         secure plain  scripted deep  wide
    for (name, accepted) in [
        ("sid", [true, true, true, true, true]),
        ("__Hostess", [true, true, true, true, true]),
        ("x__Host-sid", [true, true, true, true, true]),
        ("__Secure-sid", [true, false, true, true, true]),
        ("__Http-sid", [true, false, false, true, true]),
        ("__Host-sid", [true, false, true, false, false]),
        ("__Host-Http-sid", [true, false, false, false, false]),
        // User agents ignore the case of the prefix, so the rules apply to any case.
        ("__hOST-sid", [true, false, true, false, false]),
        ("__secure-sid", [true, false, true, true, true]),
        ("__http-sid", [true, false, false, true, true]),
        ("__host-HTTP-sid", [true, false, false, false, false]),
    ] {
        for (attributes, accepted) in [&secure, &plain, &scripted, &deep, &wide]
            .iter()
            .zip(accepted)
        {
            let template = template(name, (*attributes).clone());
            assert_eq!(template.is_ok(), accepted, "{name} with {attributes:?}");
        }
    }
}

#[test]
fn a_broken_prefix_rule_is_named() {
    let error = template("__Host-sid", all_attributes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cookie name begins with __Host-, so the cookie must have the path /; change `path`, or the name"
    );
}

#[test]
fn same_site_none_and_partitioned_need_secure() {
    for (same_site, partitioned) in [(Some(SameSite::None), false), (None, true)] {
        let attributes = Attributes::default()
            .same_site(same_site)
            .partitioned(partitioned);
        assert!(template("sid", attributes.clone()).is_ok());
        let plain = attributes.secure(false);
        assert!(matches!(
            template("sid", plain),
            Err(CookieError::NotSecure { .. })
        ));
    }
}

#[test]
fn a_path_cannot_smuggle_attributes_in() {
    let template = |path: &str| template("sid", Attributes::default().path(path));
    for path in [
        "/",
        "/app",
        "/a b/c=d,\"e\"",
        &format!("/{}", "p".repeat(1023)),
    ] {
        assert!(template(path).is_ok(), "{path}");
    }
    let long = format!("/{}", "p".repeat(1024));
    for path in [
        "",
        "app",
        " /",
        "/ ",
        "/;",
        "/; Domain=evil.example",
        "/\r\nSet-Cookie: a=b",
        "/\t",
        "/\0",
        "/\x7f",
        "/é",
        &long,
    ] {
        assert!(
            matches!(template(path), Err(CookieError::Path { .. })),
            "{path:?}"
        );
    }
}

#[test]
fn a_domain_is_a_domain_name() {
    let template = |domain: &str| template("sid", Attributes::default().domain(domain));
    let label = "l".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "l".repeat(61));
    for domain in [
        "example.org",
        "localhost",
        "a.b.c-d.1e",
        "xn--bcher-kva.example",
        &longest,
    ] {
        assert!(template(domain).is_ok(), "{domain}");
    }
    let (long, long_label) = (format!("{longest}l"), format!("{label}l.org"));
    for domain in [
        "",
        ".",
        ".example.org",
        "example.org.",
        "a..b",
        "-a.org",
        "a-.org",
        "exa mple.org",
        "example.org; Path=/",
        "example.org\r\n",
        "bücher.example",
        "a_b.org",
        "[::1]",
        &long,
        &long_label,
    ] {
        assert!(
            matches!(template(domain), Err(CookieError::Domain { .. })),
            "{domain:?}"
        );
    }
}

#[test]
fn attributes_are_read_from_configuration() {
    let read = |text: &str| toml::from_str::<Attributes>(text);
    assert_eq!(read("").unwrap(), Attributes::default());
    let strict = read("same_site = 'strict'\npath = '/app'\npartitioned = true").unwrap();
    assert_eq!(strict.same_site, Some(SameSite::Strict));
    assert!(strict.partitioned && strict.secure && strict.path == "/app");
    assert!(
        read("samesite = 'lax'").is_err(),
        "an unknown field is a typing error"
    );
    assert!(read("same_site = 'maybe'").is_err());
    for (text, priority) in [
        ("low", Priority::Low),
        ("Medium", Priority::Medium),
        ("HIGH", Priority::High),
    ] {
        let line = format!("priority = '{text}'");
        let attributes = read(&line).unwrap();
        assert_eq!(attributes.priority, Some(priority));
    }
    let error = read("priority = 'urgent'").unwrap_err().to_string();
    assert!(error.contains("use `low`, `medium` or `high`"), "{error}");
    let written = toml::to_string(&all_attributes()).unwrap();
    assert_eq!(read(&written).unwrap(), all_attributes());
}
