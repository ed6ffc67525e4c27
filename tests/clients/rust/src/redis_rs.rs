//! redis-rs: synchronous and multiplexed asynchronous connections, RESP2 and RESP3.

mod checks;

use std::thread;

use checks::{Outcome, Place, equal, keys, tell, told, version};
use redis::{Client, Commands, Connection, Pipeline, RedisResult, Script, Value, cmd, pipe};

struct Run {
    place: Place,
    keys: Vec<String>,
}

fn main() {
    let run = Run { place: Place::from_environment(), keys: keys() };
    println!("client redis-rs {}", version());
    let checks: [(&str, fn(&Run) -> Outcome); 13] = [
        ("connect and ping", connect_and_ping),
        ("a wrong password is refused", wrong_password),
        ("get, set, hash, binary", get_and_set),
        ("database", database),
        ("pipeline in order", pipeline),
        ("several keys", several_keys),
        ("transaction", transaction),
        ("transaction over several servers", transaction_over_several_servers),
        ("watch", watch),
        ("blocking pop", blocking_pop),
        ("publish and subscribe", publish_and_subscribe),
        ("scripts and scan", scripts_and_scan),
        ("multiplexed, asynchronous", multiplexed),
    ];
    for resp in [2, 3] {
        for (title, check) in &checks {
            RESP.set(resp);
            tell(&format!("{title}, RESP{resp}"), check(&run));
        }
    }
    println!("done");
}

thread_local!(static RESP: std::cell::Cell<u8> = const { std::cell::Cell::new(2) });

impl Run {
    fn url(&self, password: &str, database: u8) -> String {
        let protocol = RESP.get();
        let Place { host, port, socket, .. } = &self.place;
        match socket.as_str() {
            "" if password.is_empty() => format!("redis://{host}:{port}/{database}?protocol=resp{protocol}"),
            "" => format!("redis://:{password}@{host}:{port}/{database}?protocol=resp{protocol}"),
            path if password.is_empty() => format!("unix://{path}?db={database}&protocol=resp{protocol}"),
            path => format!("unix://{path}?db={database}&pass={password}&protocol=resp{protocol}"),
        }
    }

    fn client(&self) -> Result<Client, String> {
        Client::open(self.url(&self.place.password, self.place.database)).map_err(told)
    }

    fn connect(&self) -> Result<Connection, String> {
        let mut connection = self.client()?.get_connection().map_err(told)?;
        cmd("CLIENT").arg("SETNAME").arg(&self.place.name).exec(&mut connection).map_err(told)?;
        Ok(connection)
    }
}

fn connect_and_ping(run: &Run) -> Outcome {
    let mut connection = run.connect()?;
    equal(cmd("PING").query(&mut connection), Ok("PONG".to_owned()))?;
    equal(cmd("CLIENT").arg("GETNAME").query(&mut connection), Ok(run.place.name.clone()))
}

fn wrong_password(run: &Run) -> Outcome {
    let client = Client::open(run.url("wrong", 0)).map_err(told)?;
    match client.get_connection() {
        Ok(_) => Err("let in".to_owned()),
        Err(error) => equal(
            error.kind() == redis::ErrorKind::AuthenticationFailed || error.to_string().contains("WRONGPASS"),
            true,
        ),
    }
}

fn get_and_set(run: &Run) -> Outcome {
    let mut connection = run.connect()?;
    let value: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    connection.set::<_, _, ()>("binary", &value).map_err(told)?;
    equal(connection.get::<_, Vec<u8>>("binary").map_err(told)? == value, true)?;
    connection.hset_multiple::<_, _, _, ()>("hash", &[("a", 1), ("b", 2)]).map_err(told)?;
    let hash: std::collections::BTreeMap<String, i64> = connection.hgetall("hash").map_err(told)?;
    equal(hash.into_iter().collect::<Vec<_>>(), vec![("a".to_owned(), 1), ("b".to_owned(), 2)])?;
    connection.zadd::<_, _, _, ()>("sorted", "m", 1.5).map_err(told)?;
    equal(connection.zscore("sorted", "m"), Ok(1.5))
}

fn database(run: &Run) -> Outcome {
    run.connect()?.set::<_, _, ()>("where", "here").map_err(told)?;
    let other = Client::open(run.url(&run.place.password, run.place.database + 1)).map_err(told)?;
    let mut other = other.get_connection().map_err(told)?;
    equal(other.get("where"), Ok(None::<String>))
}

fn pipeline(run: &Run) -> Outcome {
    let mut pipeline = pipe();
    for (number, key) in run.keys.iter().enumerate() {
        pipeline.set(key, number).ignore().get(key);
    }
    equal(pipeline.query(&mut run.connect()?), Ok((0..100).collect::<Vec<i64>>()))
}

fn several_keys(run: &Run) -> Outcome {
    let mut connection = run.connect()?;
    let pairs: Vec<(&String, &String)> = run.keys.iter().map(|key| (key, key)).collect();
    connection.mset::<_, _, ()>(&pairs).map_err(told)?;
    equal(connection.mget(&run.keys), Ok(run.keys.clone()))?;
    equal(connection.exists(&run.keys), Ok(100))?;
    equal(connection.del(&run.keys), Ok(100))
}

fn transaction(run: &Run) -> Outcome {
    let replies = pipe().atomic().set("{t}a", 1).ignore().incr("{t}a", 1).get("{t}a").query(&mut run.connect()?);
    equal(replies, Ok((2, "2".to_owned())))
}

fn transaction_over_several_servers(run: &Run) -> Outcome {
    let mut connection = run.connect()?;
    let mut all: Pipeline = pipe();
    all.atomic();
    for key in &run.keys {
        all.set(key, "inside");
    }
    let result: RedisResult<Vec<Value>> = all.query(&mut connection);
    if run.place.servers == 1 {
        return equal(result.map(|replies| replies.len()), Ok(100));
    }
    let text = result.err().map_or_else(|| "no error".to_owned(), told);
    equal(
        ["CROSSSLOT", "CrossSlot", "EXECABORT", "ExecAbort", "same slot"].iter().any(|word| text.contains(word)),
        true,
    )?;
    let values: Vec<Option<String>> = connection.mget(&run.keys).map_err(told)?;
    equal(values.iter().filter(|value| value.as_deref() == Some("inside")).count(), 0)
}

fn watch(run: &Run) -> Outcome {
    let (mut one, mut other) = (run.connect()?, run.connect()?);
    one.set::<_, _, ()>("{w}", 1).map_err(told)?;
    cmd("WATCH").arg("{w}").exec(&mut one).map_err(told)?;
    other.set::<_, _, ()>("{w}", 10).map_err(told)?;
    equal(pipe().atomic().set("{w}", 0).query(&mut one), Ok(Value::Nil))?;
    let after: RedisResult<(i64,)> = redis::transaction(&mut one, &["{w}"], |one, pipe| pipe.incr("{w}", 1).query(one));
    equal(after, Ok((11,)))
}

fn blocking_pop(run: &Run) -> Outcome {
    let mut waiting = run.connect()?;
    let mut other = run.connect()?;
    let thread = thread::spawn(move || waiting.blpop::<_, (String, String)>("queue", 8.0));
    other.rpush::<_, _, ()>("queue", "job").map_err(told)?;
    let popped = thread.join().map_err(|_| "the thread ended".to_owned())?;
    equal(popped, Ok(("queue".to_owned(), "job".to_owned())))?;
    equal(other.blpop("queue", 0.1), Ok(None::<(String, String)>))
}

fn publish_and_subscribe(run: &Run) -> Outcome {
    let mut subscriber = run.connect()?;
    let mut other = run.connect()?;
    let mut subscription = subscriber.as_pubsub();
    subscription.set_read_timeout(Some(std::time::Duration::from_secs(8))).map_err(told)?;
    subscription.subscribe("news").map_err(told)?;
    subscription.psubscribe("new?").map_err(told)?;
    other.publish::<_, _, ()>("news", "hello").map_err(told)?;
    for _ in 0..2 {
        let message = subscription.get_message().map_err(told)?;
        equal(message.get_payload(), Ok("hello".to_owned()))?;
    }
    subscription.unsubscribe("news").map_err(told)
}

fn scripts_and_scan(run: &Run) -> Outcome {
    let mut connection = run.connect()?;
    cmd("FLUSHDB").exec(&mut connection).map_err(told)?;
    let script = Script::new("redis.call('set', KEYS[1], ARGV[1]) return ARGV[1] * 2");
    for key in &run.keys {
        equal(script.key(key).arg(21).invoke(&mut connection), Ok(42))?;
    }
    let mut seen: Vec<String> = connection.scan().map_err(told)?.collect::<RedisResult<Vec<String>>>().map_err(told)?;
    let mut wanted = run.keys.clone();
    seen.sort();
    seen.dedup();
    wanted.sort();
    equal(seen, wanted)
}

fn multiplexed(run: &Run) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(told)?;
    let client = run.client()?;
    runtime.block_on(async {
        let connection = client.get_multiplexed_async_connection().await.map_err(told)?;
        let tasks: Vec<_> = (0..100)
            .map(|number: i64| {
                let mut connection = connection.clone();
                let key = format!("many:{number}");
                let mut both = pipe();
                both.set(&key, number).ignore().get(&key);
                async move { both.query_async::<(i64,)>(&mut connection).await }
            })
            .map(|future| tokio::task::spawn(future))
            .collect();
        for (number, task) in (0..).zip(tasks) {
            equal(task.await.map_err(told)?, Ok((number,)))?;
        }
        Ok(())
    })
}
