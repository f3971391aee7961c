package store

import (
	"container/list"
	"sync"

	"rain/store/catalog"
)

const cacheShards = 16

// cache holds small bodies by hash: least recently used goes first. What it
// hands out is never changed.
type cache struct {
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu    sync.Mutex
	limit int64
	used  int64
	order *list.List // of *cached, newest first
	bySum map[catalog.Sum]*list.Element
}

type cached struct {
	sum  catalog.Sum
	body []byte
}

// cacheOverhead is about what an entry takes besides its bytes.
const cacheOverhead = 256

func newCache(limit int64) *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i] = cacheShard{limit: limit / cacheShards, order: list.New(), bySum: map[catalog.Sum]*list.Element{}}
	}
	return c
}

func (c *cache) get(s catalog.Sum) ([]byte, bool) {
	sh := &c.shards[s[0]%cacheShards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e, ok := sh.bySum[s]
	if !ok {
		return nil, false
	}
	sh.order.MoveToFront(e)
	return e.Value.(*cached).body, true
}

func (c *cache) put(s catalog.Sum, body []byte) {
	sh := &c.shards[s[0]%cacheShards]
	cost := int64(len(body)) + cacheOverhead
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.bySum[s]; ok || cost > sh.limit {
		return
	}
	sh.bySum[s] = sh.order.PushFront(&cached{s, body})
	sh.used += cost
	for sh.used > sh.limit {
		e := sh.order.Back()
		old := sh.order.Remove(e).(*cached)
		delete(sh.bySum, old.sum)
		sh.used -= int64(len(old.body)) + cacheOverhead
	}
}
