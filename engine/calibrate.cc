#include "engine/calibrate.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/runtime/shared_exchange.h"
#include "kernels/device/buffer.h"
#include "kernels/device/host_cores.h"
#include "kernels/device/host_memory.h"
#include "kernels/linear/linear.h"
#include "kernels/rank_sum/rank_sum.h"
#include "kernels/simd/machine_limits.h"

namespace mneme {
namespace {

using kernels::Buffer;
using kernels::DType;

constexpr int64_t kIn = 2048;  // columns of the linear layers that are timed
constexpr int64_t kRowBytes = 2048;
constexpr int64_t kRowsRead = 4096;  // random rows of a pass, of each rank
constexpr int32_t kMeetings = 100;   // of a pass
// What a rank reads between two meetings: the weights of a small operator.
constexpr int64_t kReadBytes = 1 << 20;
constexpr int64_t kMostRows = 512;
// Beyond so many rows a layer is bound by arithmetic: an eighth of the weights is enough.
constexpr int64_t kFewRows = 8;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of body(rank, pass) for each pass, as long as its slowest rank takes, ascending: on
// `ranks` threads that begin each pass together. A pass before them warms up.
std::vector<double> PassSeconds(int32_t ranks, int32_t passes,
                                const std::function<void(int32_t rank, int32_t pass)>& body) {
  std::barrier<> begin(ranks);
  std::vector<std::vector<double>> seconds(ranks, std::vector<double>(passes + 1));
  std::vector<std::thread> threads;
  threads.reserve(ranks);
  for (int32_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      for (int32_t pass = 0; pass <= passes; ++pass) {
        begin.arrive_and_wait();
        const double start = Now();
        body(rank, pass);
        seconds[rank][pass] = Now() - start;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<double> slowest(passes, 0);
  for (int32_t pass = 0; pass < passes; ++pass) {
    for (const std::vector<double>& of_rank : seconds) {
      slowest[pass] = std::max(slowest[pass], of_rank[pass + 1]);
    }
  }
  std::sort(slowest.begin(), slowest.end());
  return slowest;
}

// One rank's memory: weights that are streamed and rows that are read at random.
struct Place {
  uint8_t* data = nullptr;
  int64_t bytes = 0;
};

class Calibration {
 public:
  Calibration(const CalibrateOptions& options, Buffer memory)
      : options_(options), memory_(std::move(memory)) {
    // A pattern that is 0.5 in bf16 and close to it in f32, and touches every page.
    auto* values = reinterpret_cast<uint16_t*>(memory_.data());
    std::fill_n(values, memory_.size() / 2, uint16_t{0x3f00});
  }

  plan::Speed MeasureSpeed(int32_t ranks) {
    plan::Speed speed;
    speed.ranks = ranks;
    speed.bytes_per_second =
        kernels::MeasureReadBandwidth(options_.bytes, options_.isa, ranks) / ranks;
    speed.row_seconds =
        std::max(0.0, RowSeconds(ranks) - static_cast<double>(kRowBytes) / speed.bytes_per_second);
    for (int64_t rows = 1; rows <= kMostRows; rows *= rows < kFewRows ? 2 : 4) {
      speed.arithmetic.push_back(
          {rows, Flops(ranks, rows, DType::kBf16), Flops(ranks, rows, DType::kF32)});
    }
    return speed;
  }

  // Of which an exchange may be: a rank has room for three such tensors, and weights.
  int64_t MostFloats(int32_t ranks) const {
    return std::min<int64_t>(64 << 10, PlaceOf(ranks, 0).bytes / 32);
  }

  // Of an exchange of `floats` float32 by each rank: each reads weights, writes its addend, meets
  // the others and sums, less what reading alone takes. Ranks that have worked do not come at the
  // same moment, and wait for the last: that is most of what a meeting costs. REQUIRES: floats of
  // MostFloats.
  double ExchangeSeconds(runtime::SharedRegion* region, int64_t floats) {
    const int32_t ranks = region->ranks();
    std::vector<std::unique_ptr<runtime::SharedExchange>> ends;
    ends.reserve(ranks);
    for (int32_t rank = 0; rank < ranks; ++rank) {
      ends.push_back(
          std::make_unique<runtime::SharedExchange>(region, rank, std::chrono::microseconds(50)));
    }
    const auto round = [&](int64_t read, bool meet) {
      return PassSeconds(ranks, 1, [&](int32_t rank, int32_t) {
        for (int32_t i = 0; i < kMeetings; ++i) {
          Exchange(ranks, rank, {i, floats, read}, meet ? ends[rank].get() : nullptr);
        }
      })[0];
    };
    // Never less than ranks take that do nothing else: the difference of long times may be noise.
    std::vector<double> more;
    more.reserve(options_.passes);
    for (int32_t pass = 0; pass < options_.passes; ++pass) {
      const double with = round(kReadBytes, true);
      more.push_back(std::max(with - round(kReadBytes, false), round(0, true)));
    }
    std::sort(more.begin(), more.end());
    return more[more.size() / 2] / kMeetings;
  }

 private:
  // The pass that counts.
  double Seconds(int32_t ranks, int32_t passes,
                 const std::function<void(int32_t rank, int32_t pass)>& body) const {
    return PassSeconds(ranks, passes, body)[passes / 2];
  }

  Place PlaceOf(int32_t ranks, int32_t rank) const {
    const int64_t each = memory_.size() / ranks / 4096 * 4096;
    return {memory_.data() + rank * each, each};
  }

  // One of ExchangeSeconds; with a null `end` only reads. Two addends in turn, so that nobody
  // writes what another one still reads, and the sum; behind them the weights.
  struct Meeting {
    int32_t number = 0;
    int64_t floats = 0;
    int64_t read_bytes = 0;
  };
  void Exchange(int32_t ranks, int32_t rank, const Meeting& meeting,
                runtime::SharedExchange* end) const {
    const auto& [number, floats, read_bytes] = meeting;
    const Place place = PlaceOf(ranks, rank);
    const auto addend = [&, odd = number % 2, each = floats](int32_t r) {
      return reinterpret_cast<float*>(PlaceOf(ranks, r).data) + odd * each;
    };
    const int64_t first = 3 * floats * static_cast<int64_t>(sizeof(float));
    const int64_t bytes = std::min(read_bytes, place.bytes - first);
    const int64_t parts = bytes > 0 ? (place.bytes - first) / bytes : 1;
    Read(place.data + first + number % parts * bytes, bytes);
    if (end == nullptr) return;
    std::fill_n(addend(rank), floats, 1.0f);
    end->Settle();
    if (floats == 0) return;
    std::vector<const float*> addends(ranks);
    for (int32_t r = 0; r < ranks; ++r) addends[r] = addend(r);
    float* y = reinterpret_cast<float*>(place.data) + 2 * floats;
    kernels::ResolveRankSum(options_.isa)(
        {.addends = addends, .addend_stride = floats, .y = {y, 1, floats, floats}});
  }

  static void Read(const uint8_t* data, int64_t bytes) {
    uint64_t sums[8] = {};
    const auto* words = reinterpret_cast<const uint64_t*>(data);
    for (int64_t w = 0; w + 8 <= bytes / 8; w += 8) {
      for (int j = 0; j < 8; ++j) sums[j] += words[w + j];
    }
    volatile uint64_t sink = sums[0] + sums[7];
    static_cast<void>(sink);
  }

  // Of a random row, with as many prefetched as the gather has on their way.
  double RowSeconds(int32_t ranks) {
    constexpr int64_t kAhead = 8;
    std::vector<std::vector<int64_t>> offsets(ranks);
    for (int32_t rank = 0; rank < ranks; ++rank) {
      std::mt19937_64 random(static_cast<uint64_t>(rank) + 1);
      const uint64_t rows = static_cast<uint64_t>(memory_.size() / kRowBytes);
      for (int64_t i = 0; i < kRowsRead * (options_.passes + 1); ++i) {
        offsets[rank].push_back(static_cast<int64_t>(random() % rows) * kRowBytes);
      }
    }
    const double seconds = Seconds(ranks, options_.passes, [&](int32_t rank, int32_t pass) {
      const int64_t* at = offsets[rank].data() + pass * kRowsRead;
      uint64_t sums[8] = {};
      for (int64_t i = 0; i < kRowsRead; ++i) {
        if (i + kAhead < kRowsRead) {
          const uint8_t* next = memory_.data() + at[i + kAhead];
          for (int64_t b = 0; b < kRowBytes; b += 64) __builtin_prefetch(next + b);
        }
        const auto* words = reinterpret_cast<const uint64_t*>(memory_.data() + at[i]);
        for (int64_t w = 0; w < kRowBytes / 8; w += 8) {
          for (int j = 0; j < 8; ++j) sums[j] += words[w + j];
        }
      }
      volatile uint64_t sink = sums[0] + sums[7];
      static_cast<void>(sink);
    });
    return seconds / kRowsRead;
  }

  // Operations per second of the linear kernel on each rank; weights are others in every pass.
  double Flops(int32_t ranks, int64_t rows, DType type) {
    const kernels::LinearFn linear = kernels::ResolveLinear(type, options_.isa);
    const int64_t row_bytes = kIn * (type == DType::kBf16 ? 2 : 4);
    const int64_t parts = rows <= kFewRows ? 1 : 8;
    const int64_t out = std::max<int64_t>(1, PlaceOf(ranks, 0).bytes / parts / row_bytes);
    std::vector<float> x(rows * kIn, 0.5f);
    std::vector<std::vector<float>> y(ranks, std::vector<float>(rows * out));
    // Long passes need fewer.
    const int32_t passes = rows > 4 * kFewRows ? std::min(options_.passes, 3) : options_.passes;
    const double seconds = Seconds(ranks, passes, [&](int32_t rank, int32_t pass) {
      const uint8_t* weights = PlaceOf(ranks, rank).data + pass % parts * out * row_bytes;
      linear({.x = kernels::MakeMatrix<const float>(x.data(), rows, kIn),
              .w = {.data = const_cast<uint8_t*>(weights),
                    .dtype = type,
                    .rows = out,
                    .cols = kIn,
                    .row_stride = kIn},
              .y = kernels::MakeMatrix<float>(y[rank].data(), rows, out)});
    });
    return 2.0 * static_cast<double>(rows * kIn * out) / seconds;
  }

  const CalibrateOptions& options_;
  Buffer memory_;
};

absl::StatusOr<plan::Link> MeasureLink(Calibration* calibration,
                                       const std::vector<int32_t>& counts) {
  const plan::Cluster guess = *plan::NamedCluster("1xcpu");
  if (counts.back() == 1) return guess.axes[0].link;
  const int32_t most = counts.back();
  plan::Link link;
  const auto all = runtime::SharedRegion::Create(most, /*arena_bytes=*/64);
  if (!all.ok()) return all.status();
  const double meeting = calibration->ExchangeSeconds(all->get(), 0);
  if (counts.size() > 2) {
    const auto pair = runtime::SharedRegion::Create(2, /*arena_bytes=*/64);
    if (!pair.ok()) return pair.status();
    const double two = calibration->ExchangeSeconds(pair->get(), 0);
    link.seconds_per_rank = std::max(0.0, (meeting - two) / (most - 2));
  }
  link.seconds = std::max(0.0, meeting - link.seconds_per_rank * (most - 1));
  const int64_t floats = calibration->MostFloats(most);
  const double moved = 2.0 * 4 * static_cast<double>(floats) * (most - 1) / most;
  link.bytes_per_second =
      moved / std::max(1e-9, calibration->ExchangeSeconds(all->get(), floats) - meeting);
  return link;
}

}  // namespace

absl::StatusOr<plan::Cluster> Calibrate(const CalibrateOptions& options) {
  const int32_t most =
      options.ranks > 0 ? options.ranks : std::min(kernels::UsableCores(), plan::kMaxRanks);
  if (options.ranks < 0 || most > plan::kMaxRanks || options.passes < 1 ||
      options.bytes < int64_t{8} << 20) {
    return absl::InvalidArgumentError(absl::StrCat("cannot calibrate ", options.ranks,
                                                   " ranks with ", options.passes, " passes over ",
                                                   options.bytes, " bytes"));
  }
  absl::StatusOr<Buffer> memory = Buffer::Allocate(options.bytes, kernels::Pages::kHuge);
  if (!memory.ok()) return memory.status();
  const int64_t available = kernels::AvailableHostMemory();
  Calibration calibration(options, *std::move(memory));
  std::vector<int32_t> counts;
  for (int32_t n = 1; n < most; n *= 2) counts.push_back(n);
  counts.push_back(most);

  plan::Cluster cluster;
  cluster.name = absl::StrCat(most, "xcpu calibrated");
  cluster.device = "cpu";
  cluster.shared_memory = true;
  for (int32_t n : counts) cluster.contended.push_back(calibration.MeasureSpeed(n));
  const absl::StatusOr<plan::Link> link = MeasureLink(&calibration, counts);
  if (!link.ok()) return link.status();
  cluster.axes.push_back({"cores", most, *link});
  const plan::Speed& alone = cluster.contended[0];
  cluster.memory.push_back({"dram", available, alone.bytes_per_second, alone.row_seconds});
  cluster.arithmetic = alone.arithmetic;
  return cluster;
}

}  // namespace mneme
