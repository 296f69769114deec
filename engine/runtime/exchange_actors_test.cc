// The actors that change layouts, each rank a thread with an arena of its own.

#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "engine/runtime/actor.h"
#include "engine/runtime/shared_exchange.h"
#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

constexpr int32_t kMaxRows = 40;

// One actor on several ranks: input register 0, output register 1.
class Ranks {
 public:
  Ranks(v1::OperatorKind kind, std::vector<int64_t> cuts, bool front_only = false)
      : ranks_(static_cast<int32_t>(cuts.size()) - 1),
        cols_(cuts.back()),
        region_(*SharedRegion::Create(ranks_, 2 * kMaxRows * cols_ * 4)) {
    v1::Register* in = plan_.add_registers();
    v1::Register* out = plan_.add_registers();
    in->set_cols(cols_);
    out->set_cols(cols_);
    if (kind == v1::ALL_GATHER) {
      in->mutable_layout()->set_kind(v1::Layout::SPLIT);
      in->mutable_layout()->set_axis(1);
      for (int32_t r = 0; r < ranks_; ++r) {
        v1::Layout::Part* part = in->mutable_layout()->add_parts();
        part->set_begin(cuts[r]);
        part->set_end(cuts[r + 1]);
      }
    }
    v1::Actor* actor = plan_.add_actors();
    actor->set_kind(kind);
    actor->add_inputs(0);
    actor->add_outputs(1);
    actor->mutable_attributes()->mutable_gathering()->set_front_only(front_only);
    const int64_t bytes = kMaxRows * cols_ * 4;
    for (int32_t r = 0; r < ranks_; ++r) {
      exchanges_.push_back(std::make_unique<SharedExchange>(region_.get(), r, spin_));
      uint8_t* arena = exchanges_[r]->arena().data();
      const int64_t own = kind == v1::ALL_GATHER ? cuts[r + 1] - cuts[r] : cols_;
      registers_.push_back({{.base = arena, .cols = own, .row_stride = own},
                            {.base = arena + bytes, .cols = cols_, .row_stride = cols_}});
      actors_.push_back(*MakeActor({plan_, plan_.actors(0), registers_[r], weights_, caches_,
                                    kernels::DetectIsa(), false, r, exchanges_[r].get()}));
    }
  }

  float* input(int32_t rank) { return reinterpret_cast<float*>(registers_[rank][0].base); }
  // Every rank's output of a step of `rows`, and the bytes that all read of each other.
  std::vector<std::vector<float>> Fire(int32_t rows) {
    std::vector<std::thread> threads;
    std::vector<std::vector<float>> outputs(ranks_);
    std::vector<kernels::Traffic> traffic(ranks_);
    for (int32_t r = 0; r < ranks_; ++r) {
      threads.emplace_back([&, r] {
        StepContext step;
        step.tokens = rows;
        traffic[r] = actors_[r]->Fire(step);
        const auto* y = reinterpret_cast<const float*>(registers_[r][1].base);
        outputs[r].assign(y, y + rows * cols_);
      });
    }
    for (std::thread& thread : threads) thread.join();
    exchanged_ = 0;
    for (const kernels::Traffic& t : traffic) {
      exchanged_ += t.read_bytes[static_cast<int>(kernels::TrafficClass::kExchange)];
    }
    return outputs;
  }
  uint64_t exchanged() const { return exchanged_; }

 private:
  static constexpr std::chrono::microseconds spin_{50};
  const int32_t ranks_;
  const int64_t cols_;
  std::unique_ptr<SharedRegion> region_;
  v1::Plan plan_;
  std::vector<const loader::PackedWeight*> weights_;
  KvCaches caches_;
  std::vector<std::unique_ptr<SharedExchange>> exchanges_;
  std::vector<std::vector<RegisterRef>> registers_;
  std::vector<std::unique_ptr<Actor>> actors_;
  uint64_t exchanged_ = 0;
};

void FillNormal(float* data, int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < count; ++i) data[i] = normal(random);
}

// Small tensors are summed by every rank, from 32 KiB on each sums a share: the same bits.
TEST(AllReduceTest, AddsInRankOrderHoweverManyRows) {
  for (int32_t ranks : {2, 3, 5}) {
    constexpr int64_t kCols = 1001;
    std::vector<int64_t> cuts(ranks + 1, 0);
    cuts.back() = kCols;
    Ranks group(v1::ALL_REDUCE, cuts);
    for (int32_t r = 0; r < ranks; ++r) FillNormal(group.input(r), kMaxRows * kCols, r + 1);
    std::vector<float> want(kMaxRows * kCols);
    for (size_t i = 0; i < want.size(); ++i) {
      want[i] = group.input(0)[i];
      for (int32_t r = 1; r < ranks; ++r) want[i] += group.input(r)[i];
    }
    for (int32_t rows : {1, 2, 8, 9, kMaxRows, 1}) {
      const auto outputs = group.Fire(rows);
      for (int32_t r = 0; r < ranks; ++r) {
        ASSERT_EQ(0, std::memcmp(outputs[r].data(), want.data(), rows * kCols * 4))
            << ranks << " ranks, rank " << r << ", rows " << rows;
      }
      // Every rank reads all others' addends once, or its share of them and the others' sums.
      const uint64_t tensor = static_cast<uint64_t>(rows) * kCols * 4;
      const uint64_t others = static_cast<uint64_t>(ranks) - 1;
      EXPECT_EQ(group.exchanged(), (tensor < 32 << 10 ? ranks : 2) * others * tensor);
    }
  }
}

TEST(AllGatherTest, PutsUnevenPartsTogether) {
  Ranks group(v1::ALL_GATHER, {0, 3, 67, 100});
  for (int32_t r = 0; r < 3; ++r) FillNormal(group.input(r), kMaxRows * 64, r + 1);
  for (int32_t rows : {1, kMaxRows}) {
    const auto outputs = group.Fire(rows);
    for (int32_t r = 0; r < 3; ++r) {
      for (int32_t row = 0; row < rows; ++row) {
        const float* y = outputs[r].data() + row * 100;
        ASSERT_EQ(y[2], group.input(0)[row * 3 + 2]);
        ASSERT_EQ(y[3], group.input(1)[row * 64]);
        ASSERT_EQ(y[66], group.input(1)[row * 64 + 63]);
        ASSERT_EQ(y[99], group.input(2)[row * 33 + 32]);
      }
    }
  }
}

TEST(AllGatherTest, OnlyTheFrontNeedsTheWhole) {
  Ranks group(v1::ALL_GATHER, {0, 16, 32}, /*front_only=*/true);
  for (int32_t r = 0; r < 2; ++r) FillNormal(group.input(r), kMaxRows * 16, r + 1);
  for (int round = 0; round < 3; ++round) {
    const auto outputs = group.Fire(4);
    EXPECT_EQ(outputs[0][31], group.input(1)[15]);
    EXPECT_EQ(group.exchanged(), 4u * 16 * 4);
  }
}

TEST(ExchangeActorTest, NeedsAnExchange) {
  v1::Plan plan;
  plan.add_registers();
  v1::Actor* actor = plan.add_actors();
  actor->set_name("lost");
  actor->set_kind(v1::ALL_REDUCE);
  actor->add_inputs(0);
  actor->add_outputs(0);
  const std::vector<RegisterRef> registers(1);
  const auto made = MakeActor(
      {plan, *actor, registers, {}, {}, kernels::DetectIsa(), false, 0, /*exchange=*/nullptr});
  EXPECT_EQ(made.status().message(), "actor lost: the cpu device has no operator ALL_REDUCE");
}

}  // namespace
}  // namespace mneme::runtime
