//! Visitors of a service with a Redis store whose data is lost or damaged.

use hyper_session::{Sessions, store::redis::RedisStore};
use serde_json::json;

use crate::support::{
    Browser, config, object,
    redis_servers::{Server, sessions::connect},
};

async fn service(server: &Server) -> Sessions {
    let store: RedisStore = connect(server).await;
    Sessions::new(config(), store).unwrap()
}

#[tokio::test]
async fn a_first_cookie_replayed_on_an_emptied_server_opens_nothing_for_the_victim() {
    let server = Server::start();
    let sessions = service(&server).await;
    let mut victim = Browser::new(&sessions);
    victim.pass().await;
    let mut attacker = victim.clone();
    victim
        .visit(async |s| s.put("user", "victim"))
        .await
        .unwrap();
    server.send(&["FLUSHALL"]);
    let put = async |s: &hyper_session::Session| s.put("user", "attacker");
    attacker.visit(put).await.unwrap();
    assert_eq!(victim.visit(async |s| object(s)).await, json!({}));
    let data = attacker.visit(async |s| object(s)).await;
    assert_eq!(data, json!({"user": "attacker"}));
}
