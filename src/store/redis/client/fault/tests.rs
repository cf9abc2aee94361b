//! Texts of servers that repeat a secret.

use super::*;

#[test]
fn no_secret_of_the_url_is_in_the_text_of_a_problem() {
    // One password is the start of the other.
    for (own, sentinel) in [("pa55", "pa55word"), ("pa55word", "pa55")] {
        let url = format!(
            "redis-sentinel://u:{own}@host:1/0?sentinelServiceName=main&sentinelUsername=s\
             &sentinelPassword={sentinel}"
        );
        let target = Target::new(&config::parse_url(&url).unwrap());
        let text = target.clean("WRONGPASS pa55word and pa55 are wrong");
        assert_eq!(&*text, "WRONGPASS … and … are wrong");
    }
    let url = "redis://u:@host:1";
    let target = Target::new(&config::parse_url(url).unwrap());
    assert_eq!(&*target.clean("WRONGPASS text"), "WRONGPASS text");
}
