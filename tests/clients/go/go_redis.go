// go-redis, as Debian packages it: version 5, whose connections say AUTH and SELECT, and no name.

package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	redis "gopkg.in/redis.v5"
)

func connect(password string, database int) *redis.Client {
	network, address := "unix", os.Getenv("RMUX_SOCKET")
	if address == "" {
		network, address = "tcp", os.Getenv("RMUX_HOST")+":"+os.Getenv("RMUX_PORT")
	}
	return redis.NewClient(&redis.Options{
		Network: network, Addr: address, Password: password, DB: database, ReadTimeout: 10 * time.Second,
	})
}

// A check passes when it returns no error.
func check(title string, body func() error) {
	if err := body(); err != nil {
		fmt.Printf("not ok %s: %s\n", title, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("ok %s\n", title)
}

func equal(got, wanted interface{}) error {
	if !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("got %.100v, wanted %.100v", got, wanted)
	}
	return nil
}

// The first of the errors.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func says(err error, words ...string) error {
	for _, word := range words {
		if err != nil && strings.Contains(err.Error(), word) {
			return nil
		}
	}
	return fmt.Errorf("wanted an error with %v, got %v", words, err)
}

func main() {
	password := os.Getenv("RMUX_PASSWORD")
	database, _ := strconv.Atoi(os.Getenv("RMUX_DATABASE"))
	servers, _ := strconv.Atoi(os.Getenv("RMUX_SERVERS"))
	client := connect(password, database)
	keys := make([]string, 100)
	for number := range keys {
		keys[number] = "key:" + strconv.Itoa(number)
	}
	fmt.Printf("client go-redis %s\n", os.Getenv("RMUX_CLIENT_VERSION"))

	check("connect and ping", func() error {
		pong, err := client.Ping().Result()
		return all(err, equal(pong, "PONG"))
	})
	check("a wrong password is refused", func() error {
		return says(connect("wrong", database).Get("key").Err(), "WRONGPASS", "invalid")
	})
	check("get, set, hash, sorted set", func() error {
		bytes := strings.Repeat("\x00\r\n\xff", 50000)
		err := all(client.Set("binary", bytes, 0).Err(), client.HSet("hash", "a", 1).Err())
		got, getErr := client.Get("binary").Result()
		hash, hashErr := client.HGetAll("hash").Result()
		zaddErr := client.ZAdd("sorted", redis.Z{Score: 1.5, Member: "m"}).Err()
		return all(err, getErr, hashErr, zaddErr, equal(got == bytes, true), equal(hash, map[string]string{"a": "1"}),
			equal(client.ZScore("sorted", "m").Val(), 1.5), equal(client.Get("none").Err(), redis.Nil))
	})
	check("database", func() error {
		err := client.Set("where", "here", 0).Err()
		return all(err, equal(connect(password, database+1).Get("where").Err(), redis.Nil))
	})
	check("pipeline and several keys", func() error {
		_, err := client.Pipelined(func(pipe *redis.Pipeline) error {
			for _, key := range keys {
				pipe.Set(key, key, 0)
			}
			return nil
		})
		values, mgetErr := client.MGet(keys...).Result()
		wanted := make([]interface{}, len(keys))
		for number, key := range keys {
			wanted[number] = key
		}
		return all(err, mgetErr, equal(values, wanted), equal(client.Del(keys...).Val(), int64(100)))
	})
	check("transaction", func() error {
		replies, err := client.TxPipelined(func(pipe *redis.Pipeline) error {
			pipe.Set("{t}a", 1, 0)
			pipe.Incr("{t}a")
			return nil
		})
		return all(err, equal(len(replies), 2), equal(client.Get("{t}a").Val(), "2"))
	})
	check("transaction over several servers", func() error {
		_, err := client.TxPipelined(func(pipe *redis.Pipeline) error {
			for _, key := range keys {
				pipe.Set(key, "inside", 0)
			}
			return nil
		})
		found := client.Exists(keys[0]).Val()
		if servers == 1 {
			return all(err, equal(found, true))
		}
		return all(says(err, "CROSSSLOT", "EXECABORT"), equal(found, false))
	})
	check("watch", func() error {
		client.Set("{w}", 1, 0)
		err := client.Watch(func(tx *redis.Tx) error {
			client.Set("{w}", 10, 0)
			_, err := tx.Pipelined(func(pipe *redis.Pipeline) error {
				pipe.Set("{w}", 0, 0)
				return nil
			})
			return err
		}, "{w}")
		return all(equal(err, redis.TxFailedErr), equal(client.Get("{w}").Val(), "10"))
	})
	check("blocking pop", func() error {
		popped := make(chan []string)
		go func() { popped <- connect(password, database).BLPop(8*time.Second, "queue").Val() }()
		err := client.RPush("queue", "job").Err()
		return all(err, equal(<-popped, []string{"queue", "job"}), equal(client.BLPop(time.Second, "queue").Err(), redis.Nil))
	})
	check("publish and subscribe", func() error {
		subscriber, err := client.Subscribe("news")
		if err != nil {
			return err
		}
		defer subscriber.Close()
		if _, err := subscriber.ReceiveTimeout(8 * time.Second); err != nil {
			return err
		}
		client.Publish("news", "hello")
		heard, err := subscriber.ReceiveTimeout(8 * time.Second)
		message, isMessage := heard.(*redis.Message)
		if err != nil || !isMessage {
			return errors.New(fmt.Sprint("heard ", heard, err))
		}
		return equal(message.Payload, "hello")
	})
	check("scripts and scan", func() error {
		err := client.FlushDb().Err()
		script := redis.NewScript("return redis.call('set', KEYS[1], ARGV[1])")
		for _, key := range keys {
			err = all(err, script.Run(client, []string{key}, "v").Err())
		}
		found := map[string]bool{}
		for scan := client.Scan(0, "", 7).Iterator(); scan.Next(); {
			found[scan.Val()] = true
		}
		return all(err, equal(len(found), 100))
	})
	check("errors keep the connection", func() error {
		client.Set("text", "abc", 0)
		return all(says(client.LPush("text", "x").Err(), "WRONGTYPE"), equal(client.Get("text").Val(), "abc"))
	})
	fmt.Println("done")
}
