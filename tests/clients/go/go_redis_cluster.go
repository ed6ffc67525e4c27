// go-redis's client for clusters, as Debian packages it: version 5, which takes the slots only as Redis before version 7
// told them, and falls back to the address that it was given.

package main

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	redis "gopkg.in/redis.v5"
)

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

func main() {
	address := os.Getenv("RMUX_HOST") + ":" + os.Getenv("RMUX_PORT")
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{address}, Password: os.Getenv("RMUX_PASSWORD"), ReadTimeout: 10 * time.Second,
	})
	fmt.Println("client go-redis-cluster", os.Getenv("RMUX_CLIENT_VERSION"))

	check("get and set", func() error {
		for number := 0; number < 100; number++ {
			key := "key:" + strconv.Itoa(number)
			if err := client.Set(key, number, 0).Err(); err != nil {
				return err
			}
			got, err := client.Get(key).Int64()
			if err != nil || got != int64(number) {
				return fmt.Errorf("%s: got %v, %v", key, got, err)
			}
		}
		return nil
	})

	check("pipeline in order", func() error {
		pipe := client.Pipeline()
		for number := 0; number < 100; number++ {
			pipe.Incr("counter:" + strconv.Itoa(number%3))
		}
		replies, err := pipe.Exec()
		if err != nil {
			return err
		}
		for number, reply := range replies {
			if err := equal(reply.(*redis.IntCmd).Val(), int64(number/3+1)); err != nil {
				return err
			}
		}
		return nil
	})

	check("several keys of one slot", func() error {
		if err := client.MSet("{t}a", "1", "{t}b", "2").Err(); err != nil {
			return err
		}
		got, err := client.MGet("{t}a", "{t}b").Result()
		if err != nil {
			return err
		}
		return equal(got, []interface{}{"1", "2"})
	})

	check("scripts", func() error {
		got, err := client.Eval("return KEYS[1]", []string{"key:1"}).Result()
		if err != nil {
			return err
		}
		return equal(got, "key:1")
	})

	fmt.Println("done")
}
