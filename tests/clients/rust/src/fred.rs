//! fred: an asynchronous client that pipelines all that its clones ask for, with RESP2 and RESP3.

mod checks;

use std::time::Duration;

use checks::{Outcome, Place, equal, keys, tell, told, version};
use fred::clients::SubscriberClient;
use fred::prelude::*;
use fred::types::RespVersion;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("client fred {}", version());
    for (number, version) in [(2, RespVersion::RESP2), (3, RespVersion::RESP3)] {
        runtime.block_on(all_checks(number, version));
    }
    println!("done");
}

async fn all_checks(number: u8, version: RespVersion) {
    let place = Place::from_environment();
    let config = config(&place, version);
    let client = Client::new(config.clone(), None, Some(connection()), None);
    let connected = tokio::time::timeout(Duration::from_secs(10), client.init()).await;
    let connected = connected.map_err(told).and_then(|result| result.map_err(told));
    let connected = connected.map(|_| ());
    let fine = connected.is_ok();
    tell(&format!("connect, RESP{number}"), connected);
    if !fine {
        return;
    }
    tell(&format!("ping and name, RESP{number}"), ping_and_name(&client, &place).await);
    tell(&format!("get, set, hash, RESP{number}"), get_and_set(&client).await);
    tell(&format!("many at once, RESP{number}"), many_at_once(&client).await);
    tell(&format!("several keys, RESP{number}"), several_keys(&client).await);
    tell(&format!("transaction, RESP{number}"), transaction(&client).await);
    let title = format!("transaction over several servers, RESP{number}");
    tell(&title, transaction_over_several_servers(&client, &place).await);
    tell(&format!("blocking pop, RESP{number}"), blocking_pop(&client, &config).await);
    tell(&format!("publish and subscribe, RESP{number}"), publish_and_subscribe(&client, &config).await);
    tell(&format!("scripts, RESP{number}"), scripts(&client).await);
    tell(&format!("quit, RESP{number}"), client.quit().await.map_err(told));
}

fn config(place: &Place, version: RespVersion) -> Config {
    let server = match place.socket.as_str() {
        "" => ServerConfig::new_centralized(&place.host, place.port),
        path => ServerConfig::new_unix_socket(path),
    };
    let password = (!place.password.is_empty()).then(|| place.password.clone());
    Config { server, version, password, database: Some(place.database), fail_fast: true, ..Config::default() }
}

fn connection() -> ConnectionConfig {
    ConnectionConfig { internal_command_timeout: Duration::from_secs(5), ..ConnectionConfig::default() }
}

async fn ping_and_name(client: &Client, place: &Place) -> Outcome {
    equal(client.ping::<String>(None).await.map_err(told)?, "PONG".to_owned())?;
    client.client_setname(&place.name).await.map_err(told)?;
    equal(client.client_getname::<String>().await.map_err(told)?, place.name.clone())
}

async fn get_and_set(client: &Client) -> Outcome {
    client.set::<(), _, _>("a", "value", None, None, false).await.map_err(told)?;
    equal(client.get::<Option<String>, _>("a").await.map_err(told)?, Some("value".to_owned()))?;
    equal(client.get::<Option<String>, _>("absent").await.map_err(told)?, None)?;
    client.hset::<(), _, _>("hash", ("field", 7)).await.map_err(told)?;
    let hash: std::collections::HashMap<String, i64> = client.hgetall("hash").await.map_err(told)?;
    equal(hash.into_iter().collect(), vec![("field".to_owned(), 7)])
}

async fn many_at_once(client: &Client) -> Outcome {
    let tasks: Vec<_> = (0..200_i64)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                client.set::<(), _, _>(format!("many:{number}"), number, None, None, false).await?;
                client.get::<i64, _>(format!("many:{number}")).await
            })
        })
        .collect();
    for (number, task) in (0..).zip(tasks) {
        equal(task.await.map_err(told)?.map_err(told)?, number)?;
    }
    Ok(())
}

async fn several_keys(client: &Client) -> Outcome {
    let pairs: Vec<(String, String)> = keys().into_iter().map(|key| (key.clone(), key)).collect();
    client.mset(pairs).await.map_err(told)?;
    equal(client.mget::<Vec<String>, _>(keys()).await.map_err(told)?, keys())?;
    equal(client.del::<i64, _>(keys()).await.map_err(told)?, 100)
}

async fn transaction(client: &Client) -> Outcome {
    let transaction = client.multi();
    transaction.set::<(), _, _>("{t}a", 1, None, None, false).await.map_err(told)?;
    transaction.incr::<(), _>("{t}a").await.map_err(told)?;
    equal(transaction.exec::<(String, i64)>(true).await.map_err(told)?, ("OK".to_owned(), 2))
}

async fn transaction_over_several_servers(client: &Client, place: &Place) -> Outcome {
    let transaction = client.multi();
    for key in keys() {
        transaction.set::<(), _, _>(key, "inside", None, None, false).await.map_err(told)?;
    }
    let result: FredResult<Vec<String>> = transaction.exec(true).await;
    if place.servers == 1 {
        return equal(result.map_err(told)?.len(), 100);
    }
    let text = result.err().map_or_else(|| "no error".to_owned(), told);
    equal(["CROSSSLOT", "same slot", "EXECABORT"].iter().any(|word| text.contains(word)), true)?;
    let values: Vec<Option<String>> = client.mget(keys()).await.map_err(told)?;
    equal(values.iter().filter(|value| value.as_deref() == Some("inside")).count(), 0)
}

async fn blocking_pop(client: &Client, config: &Config) -> Outcome {
    let waiting = Client::new(config.clone(), None, Some(connection()), None);
    waiting.init().await.map_err(told)?;
    let other = waiting.clone();
    let task = tokio::spawn(async move { other.blpop::<(String, String), _>("queue", 8.0).await });
    client.rpush::<(), _, _>("queue", "job").await.map_err(told)?;
    equal(task.await.map_err(told)?.map_err(told)?, ("queue".to_owned(), "job".to_owned()))?;
    waiting.quit().await.map_err(told)
}

async fn publish_and_subscribe(client: &Client, config: &Config) -> Outcome {
    let subscriber = SubscriberClient::new(config.clone(), None, Some(connection()), None);
    subscriber.init().await.map_err(told)?;
    let mut messages = subscriber.message_rx();
    subscriber.subscribe("news").await.map_err(told)?;
    // fred does not wait for the server to say that it has subscribed: what is published at once may come before.
    let first = async {
        loop {
            client.publish::<(), _, _>("news", "hello").await.map_err(told)?;
            if let Ok(message) = tokio::time::timeout(Duration::from_millis(50), messages.recv()).await {
                return message.map_err(told);
            }
        }
    };
    let message = tokio::time::timeout(Duration::from_secs(8), first).await.map_err(told)??;
    equal(message.value.convert::<String>().map_err(told)?, "hello".to_owned())?;
    subscriber.unsubscribe("news").await.map_err(told)?;
    subscriber.quit().await.map_err(told)
}

async fn scripts(client: &Client) -> Outcome {
    let source = "return ARGV[1]";
    let digest: String = client.script_load(source).await.map_err(told)?;
    for key in keys().into_iter().take(20) {
        equal(client.evalsha::<String, _, _, _>(&digest, key, "v").await.map_err(told)?, "v".to_owned())?;
    }
    Ok(())
}
