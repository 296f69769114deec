// What it takes ranks to exchange: threads of a process, processes that share memory, and processes
// over TCP on loopback. Every rank does nothing else. Of 15 repetitions the one with the best
// median counts, for neighbours only ever take away. The limit is a cache line's way from one core
// to another, measured in the same run: nothing takes less.
//
//   exchange_bench [RANKS]      default: as many as cores

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/runtime/shared_exchange.h"
#include "engine/runtime/tcp_exchange.h"
#include "kernels/device/host_cores.h"
#include "kernels/rank_sum/rank_sum.h"

namespace mneme::runtime {
namespace {

constexpr int kRepetitions = 15;
constexpr int kRounds = 1000;
constexpr std::chrono::microseconds kSpin{50};
constexpr int64_t kArena = 1 << 20;

enum class Operation : uint8_t { kMeeting, kAllReduce, kAllGather };

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The best repetition; rounds lie one behind the other.
void Print(const char* way, const char* what, int64_t bytes, const std::vector<double>& seconds) {
  double best = 1e9;
  double p99 = 0;
  for (size_t begin = 0; begin + kRounds <= seconds.size(); begin += kRounds) {
    std::vector<double> some(seconds.begin() + begin, seconds.begin() + begin + kRounds);
    std::sort(some.begin(), some.end());
    if (some[kRounds / 2] >= best) continue;
    best = some[kRounds / 2];
    p99 = some[kRounds * 99 / 100];
  }
  std::printf("%-20s %-29s %6ld bytes  %8.2f us median  %8.2f us p99\n", way, what,
              static_cast<long>(bytes), best * 1e6, p99 * 1e6);
  std::fflush(stdout);
}

// Half of a line's way to another thread and back.
void BenchLine() {
  alignas(64) static std::atomic<int> line{0};
  std::thread other([] {
    for (int i = 0; i < kRepetitions * kRounds; ++i) {
      while (line.load() != 2 * i + 1) {
      }
      line.store(2 * i + 2);
    }
  });
  std::vector<double> seconds;
  for (int i = 0; i < kRepetitions * kRounds; ++i) {
    const double start = Now();
    line.store(2 * i + 1);
    while (line.load() != 2 * i + 2) {
    }
    seconds.push_back((Now() - start) / 2);
  }
  other.join();
  Print("threads", "limit: a line, one way", 64, seconds);
}

// One rank's part in all repetitions, as actors do it with few rows; seconds of each round. Two
// addends in turn, as a plan places them, and the result.
std::vector<double> Run(Exchange* exchange, Operation operation, int64_t bytes) {
  const int32_t ranks = exchange->ranks();
  const kernels::RankSumFn sum = kernels::ResolveRankSum(kernels::DetectIsa());
  const int64_t floats = bytes / 4;
  const int64_t given_floats = operation == Operation::kAllGather ? floats / ranks : floats;
  std::vector<ExchangeBlock> blocks(ranks);
  std::vector<const float*> addends(ranks);
  auto* const arena = reinterpret_cast<float*>(exchange->arena().data());
  float* const y = arena + 2 * floats;
  std::vector<double> seconds;
  seconds.reserve(size_t{kRepetitions} * kRounds);
  double last = Now();
  for (int round = 0; round < kRepetitions * kRounds; ++round) {
    const int64_t at = round % 2 * floats;
    for (int64_t i = 0; i < given_floats; i += 16) arena[at + i] = static_cast<float>(round);
    const int64_t block_bytes = std::max<int64_t>(64, given_floats * 4);
    for (int32_t r = 0; r < ranks; ++r) {
      if (r != exchange->rank()) blocks[r] = {at * 4, 1, block_bytes, block_bytes};
      addends[r] = reinterpret_cast<const float*>(exchange->ArenaOf(r)) + at;
    }
    if (!exchange->Swap(blocks, blocks)) break;
    if (operation == Operation::kAllReduce) {
      sum({.addends = addends, .addend_stride = floats, .y = {y, 1, floats, floats}});
    } else if (operation == Operation::kAllGather) {
      for (int32_t r = 0; r < ranks; ++r) {
        std::copy_n(addends[r], given_floats, y + r * given_floats);
      }
    }
    const double now = Now();
    seconds.push_back(now - last);
    last = now;
  }
  return seconds;
}

using Body = std::function<std::vector<double>(Exchange*)>;

std::vector<double> OnThreads(int32_t ranks, const Body& body) {
  const auto region = SharedRegion::Create(ranks, kArena);
  if (!region.ok()) return {};
  std::vector<double> seconds;
  std::vector<std::thread> threads;
  for (int32_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      SharedExchange exchange(region->get(), r, kSpin);
      std::vector<double> of_rank = body(&exchange);
      if (r == 0) seconds = std::move(of_rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return seconds;
}

// Rank 0 is this process; the others are forked. REQUIRES: one thread.
std::vector<double> OnProcesses(int32_t ranks,
                                const std::function<std::vector<double>(int32_t rank)>& of_rank) {
  std::vector<pid_t> others;
  for (int32_t r = 1; r < ranks; ++r) {
    const pid_t pid = fork();
    if (pid == 0) {
      of_rank(r);
      _exit(0);
    }
    others.push_back(pid);
  }
  std::vector<double> seconds = of_rank(0);
  for (pid_t pid : others) waitpid(pid, nullptr, 0);
  return seconds;
}

std::vector<double> OverSharedMemory(int32_t ranks, const Body& body) {
  const auto region = SharedRegion::CreateFile(ranks, kArena);
  if (!region.ok()) return {};
  return OnProcesses(ranks, [&](int32_t rank) {
    SharedExchange exchange(region->get(), rank, kSpin);
    return body(&exchange);
  });
}

// Whole messages of a pair of sockets.
void SendText(int fd, const std::string& text) { (void)!write(fd, text.data(), text.size()); }
std::string ReceiveText(int fd) {
  std::string text(4096, 0);
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, read(fd, text.data(), text.size()))));
  return text;
}

// Each rank gets from rank 0 what the others opened for it.
std::vector<double> OverTcp(int32_t ranks, const Body& body) {
  std::vector<int> ends(2 * static_cast<size_t>(ranks));
  for (int32_t r = 1; r < ranks; ++r) {
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, &ends[2 * r]) != 0) return {};
  }
  return OnProcesses(ranks, [&](int32_t rank) -> std::vector<double> {
    auto exchange = TcpExchange::Create(rank, ranks, kArena, "127.0.0.1", std::chrono::seconds(60));
    if (!exchange.ok()) return {};
    const auto opened = (*exchange)->Open();
    if (!opened.ok()) return {};
    std::vector<std::string> addresses(ranks);
    if (rank > 0) {
      for (const std::string& address : *opened) SendText(ends[2 * rank + 1], address + ".");
      for (std::string& address : addresses) {
        address = ReceiveText(ends[2 * rank + 1]);
        address.pop_back();
      }
    } else {
      std::vector<std::vector<std::string>> all = {*opened};
      for (int32_t r = 1; r < ranks; ++r) {
        std::vector<std::string>& of_rank = all.emplace_back(ranks);
        for (std::string& address : of_rank) {
          address = ReceiveText(ends[2 * r]);
          address.pop_back();
        }
        addresses[r] = of_rank[0];
      }
      for (int32_t r = 1; r < ranks; ++r) {
        for (int32_t at = 0; at < ranks; ++at) SendText(ends[2 * r], all[at][r] + ".");
      }
    }
    if (!(*exchange)->Connect(addresses).ok()) return {};
    return body(exchange->get());
  });
}

void BenchAll(const char* way, int32_t ranks,
              const std::function<std::vector<double>(int32_t, const Body&)>& on) {
  const auto bench = [&](const char* what, Operation operation, int64_t bytes) {
    const auto body = [=](Exchange* exchange) { return Run(exchange, operation, bytes); };
    const std::vector<double> seconds = on(ranks, body);
    if (seconds.size() == size_t{kRepetitions} * kRounds) return Print(way, what, bytes, seconds);
    std::printf("%-20s %-29s failed\n", way, what);
  };
  bench("meeting", Operation::kMeeting, 0);
  for (int64_t bytes : {1 << 10, 8 << 10, 32 << 10}) {
    bench("all-reduce (write, meet, sum)", Operation::kAllReduce, bytes);
  }
  bench("all-gather", Operation::kAllGather, 8 << 10);
}

}  // namespace
}  // namespace mneme::runtime

int main(int argc, char** argv) {
  using namespace mneme::runtime;  // NOLINT(google-build-using-namespace)
  const int ranks = argc > 1 ? std::atoi(argv[1]) : mneme::kernels::UsableCores();
  std::printf("%d ranks on %d cores\n", ranks, mneme::kernels::UsableCores());
  BenchLine();
  BenchAll("threads", ranks, OnThreads);
  BenchAll("processes, memory", ranks, OverSharedMemory);
  BenchAll("processes, TCP", ranks, OverTcp);
  return 0;
}
