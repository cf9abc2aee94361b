use super::*;

#[test]
fn an_outage_is_told_when_it_starts_and_when_it_ends() {
    let watch = Watch::default();
    assert_eq!(watch.succeeded(), None);
    for outage in 1..3 {
        let fault = TransientError::Silent;
        assert_eq!(watch.failed(fault), Some(Outage::Started { fault }));
        assert_eq!(watch.failed(TransientError::Broken), None);
        let ended = watch.succeeded();
        assert!(
            matches!(ended, Some(Outage::Ended { failed: 2, .. })),
            "{ended:?}"
        );
        assert_eq!(watch.succeeded(), None);
        assert_eq!(watch.outages(), outage);
    }
}
