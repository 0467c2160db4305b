// The comparator of the benchmarks: host and plugin with hashicorp/go-plugin over gRPC, in one program.
//
// Without arguments it is the host. It hears orders on its standard input, a socket, one JSON object a line, and answers
// there: "latency" and "rate" measure unary calls that carry 256 bytes each way, "spawn" the start of a plugin up to its
// first answer. With the argument "plugin" it is the plugin.
//
// The calls carry bytes as they are, so nothing of their time is protobuf's.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

const (
	payload = 256
	warmUp  = 300
	method  = "/bench.Echo/Echo"
)

// raw passes bytes through.
type raw struct{}

func (raw) Name() string { return "raw" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// echo answers with what it was sent.
type echo struct{ plugin.NetRPCUnsupportedPlugin }

func (echo) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Echo",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				var message []byte
				if err := decode(&message); err != nil {
					return nil, err
				}
				return &message, nil
			},
		}},
	}, struct{}{})
	return nil
}

func (echo) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, connection *grpc.ClientConn) (any, error) {
	return connection, nil
}

var (
	handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "BENCH", MagicCookieValue: "1"}
	plugins   = plugin.PluginSet{"echo": echo{}}
)

// start starts a plugin and connects to it.
func start() (*plugin.Client, *grpc.ClientConn, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugins,
		Cmd:              exec.Command(program, "plugin"),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	protocol, err := client.Client()
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	dispensed, err := protocol.Dispense("echo")
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	return client, dispensed.(*grpc.ClientConn), nil
}

func call(connection *grpc.ClientConn) error {
	message, answer := make([]byte, payload), []byte(nil)
	err := connection.Invoke(context.Background(), method, &message, &answer, grpc.CallContentSubtype("raw"))
	if err == nil && len(answer) != payload {
		return fmt.Errorf("%d bytes came back", len(answer))
	}
	return err
}

// latency makes calls one after another: nanoseconds.
func latency(connection *grpc.ClientConn, length time.Duration) (map[string]float64, error) {
	for range warmUp {
		if err := call(connection); err != nil {
			return nil, err
		}
	}
	var took []time.Duration
	begin := time.Now()
	for before := begin; before.Sub(begin) < length; {
		if err := call(connection); err != nil {
			return nil, err
		}
		after := time.Now()
		took = append(took, after.Sub(before))
		before = after
	}
	slices.Sort(took)
	return map[string]float64{
		"p50": float64(took[len(took)/2].Nanoseconds()),
		"p99": float64(took[len(took)*99/100].Nanoseconds()),
	}, nil
}

// rate has so many callers with one call in flight each: calls a second.
func rate(connection *grpc.ClientConn, callers int, length time.Duration) (map[string]float64, error) {
	var stop atomic.Bool
	var count atomic.Int64
	var group sync.WaitGroup
	failures := make(chan error, callers)
	for range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			for !stop.Load() {
				if err := call(connection); err != nil {
					failures <- err
					return
				}
				count.Add(1)
			}
		}()
	}
	time.Sleep(30 * time.Millisecond)
	begin, before := time.Now(), count.Load()
	time.Sleep(length)
	calls, took := count.Load()-before, time.Since(begin)
	stop.Store(true)
	group.Wait()
	select {
	case err := <-failures:
		return nil, err
	default:
		return map[string]float64{"rate": float64(calls) / took.Seconds()}, nil
	}
}

// spawn starts another plugin and makes one call: nanoseconds to its answer.
func spawn() (map[string]float64, error) {
	begin := time.Now()
	client, connection, err := start()
	if err != nil {
		return nil, err
	}
	defer client.Kill()
	if err := call(connection); err != nil {
		return nil, err
	}
	return map[string]float64{"answer": float64(time.Since(begin).Nanoseconds())}, nil
}

type order struct {
	Do      string `json:"do"`
	Millis  int64  `json:"millis"`
	Callers int    `json:"callers"`
}

func host() error {
	client, connection, err := start()
	if err != nil {
		return err
	}
	defer client.Kill()
	answers := json.NewEncoder(os.Stdin)
	if err := answers.Encode(struct{}{}); err != nil {
		return err
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var order order
		if err := json.Unmarshal(orders.Bytes(), &order); err != nil {
			return err
		}
		length := time.Duration(order.Millis) * time.Millisecond
		var numbers map[string]float64
		switch order.Do {
		case "latency":
			numbers, err = latency(connection, length)
		case "rate":
			numbers, err = rate(connection, order.Callers, length)
		case "spawn":
			numbers, err = spawn()
		default:
			err = fmt.Errorf("unknown order %q", order.Do)
		}
		var answer any = numbers
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return orders.Err()
}

func main() {
	encoding.RegisterCodecV2(raw{})
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig: handshake,
			Plugins:         plugins,
			GRPCServer:      plugin.DefaultGRPCServer,
			Logger:          hclog.NewNullLogger(),
		})
		return
	}
	if err := host(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
