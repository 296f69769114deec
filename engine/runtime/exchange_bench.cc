// What it takes ranks of one process to meet, and to sum a partial tensor: median of one exchange,
// every rank a thread that does nothing else. The limit is a cache line's way from one core to
// another, measured in the same run: no meeting takes less.
//
//   exchange_bench [RANKS]      default: as many as cores

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "engine/runtime/shared_exchange.h"
#include "kernels/device/host_cores.h"
#include "kernels/rank_sum/rank_sum.h"

namespace mneme::runtime {
namespace {

constexpr int kRounds = 20'000;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Print(const char* what, int64_t bytes, std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  std::printf("%-28s %8ld bytes  %7.2f us median  %7.2f us p99\n", what, static_cast<long>(bytes),
              seconds[seconds.size() / 2] * 1e6, seconds[seconds.size() * 99 / 100] * 1e6);
}

// Half of a line's way to another thread and back.
void BenchLine() {
  alignas(64) static std::atomic<int> line{0};
  std::thread other([] {
    for (int i = 0; i < kRounds; ++i) {
      while (line.load() != 2 * i + 1) {
      }
      line.store(2 * i + 2);
    }
  });
  std::vector<double> seconds;
  for (int i = 0; i < kRounds; ++i) {
    const double start = Now();
    line.store(2 * i + 1);
    while (line.load() != 2 * i + 2) {
    }
    seconds.push_back((Now() - start) / 2);
  }
  other.join();
  Print("limit: a line, one way", 64, seconds);
}

// As an all-reduce of few rows does it: meet, then sum what all ranks have.
void Bench(int32_t ranks, int64_t bytes) {
  const int64_t floats = bytes / 4;
  // Two addends in turn, as a plan places them, and the sum.
  const auto region = SharedRegion::Create(ranks, 3 * bytes + 64);
  if (!region.ok()) return;
  std::vector<std::unique_ptr<SharedExchange>> exchanges;
  for (int32_t r = 0; r < ranks; ++r) {
    exchanges.push_back(
        std::make_unique<SharedExchange>(region->get(), r, std::chrono::microseconds(50)));
    std::fill_n(reinterpret_cast<float*>(exchanges[r]->arena().data()), 3 * floats, 1.0f);
  }
  const kernels::RankSumFn sum = kernels::ResolveRankSum(kernels::DetectIsa());
  std::vector<double> seconds;
  std::vector<std::thread> threads;
  for (int32_t r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      std::vector<const float*> addends(ranks);
      double last = Now();
      for (int round = 0; round < kRounds; ++round) {
        auto* own = reinterpret_cast<float*>(exchanges[r]->arena().data()) + round % 2 * floats;
        for (int64_t i = 0; i < floats; i += 16) own[i] = static_cast<float>(round);
        exchanges[r]->Settle();
        if (bytes > 0) {
          for (int32_t other = 0; other < ranks; ++other) {
            addends[other] =
                reinterpret_cast<const float*>(exchanges[r]->ArenaOf(other)) + round % 2 * floats;
          }
          sum({.addends = addends,
               .addend_stride = floats,
               .y = {reinterpret_cast<float*>(exchanges[r]->arena().data()) + 2 * floats, 1, floats,
                     floats}});
        }
        if (r > 0) continue;
        const double now = Now();
        seconds.push_back(now - last);
        last = now;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Print(bytes == 0 ? "meeting" : "all-reduce (write, meet, sum)", bytes, seconds);
}

}  // namespace
}  // namespace mneme::runtime

int main(int argc, char** argv) {
  const int ranks = argc > 1 ? std::atoi(argv[1]) : mneme::kernels::UsableCores();
  std::printf("%d ranks on %d cores\n", ranks, mneme::kernels::UsableCores());
  mneme::runtime::BenchLine();
  for (int64_t bytes : {0, 1 << 10, 8 << 10, 32 << 10}) mneme::runtime::Bench(ranks, bytes);
  return 0;
}
