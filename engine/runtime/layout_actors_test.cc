// The exchanges that are not of whole tensors, and the linear operator of several chunks: each rank
// a thread with an arena of its own.

#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "engine/runtime/actor.h"
#include "engine/runtime/shared_exchange.h"
#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

constexpr int32_t kMaxRows = 40;

v1::Register* AddRegister(std::vector<int64_t> cuts, int64_t cols, v1::Plan* plan) {
  v1::Register* reg = plan->add_registers();
  reg->set_cols(cols);
  if (cuts.empty()) return reg;
  reg->mutable_layout()->set_kind(v1::Layout::SPLIT);
  reg->mutable_layout()->set_axis(1);
  for (size_t r = 0; r + 1 < cuts.size(); ++r) {
    v1::Layout::Part* part = reg->mutable_layout()->add_parts();
    part->set_begin(cuts[r]);
    part->set_end(cuts[r + 1]);
  }
  return reg;
}

// The plan's one actor on every rank.
class Ranks {
 public:
  Ranks(v1::Plan plan, int32_t ranks)
      : ranks_(ranks),
        plan_(std::move(plan)),
        region_(*SharedRegion::Create(ranks, plan_.registers_size() * kBytes)) {
    for (int32_t r = 0; r < ranks; ++r) {
      exchanges_.push_back(std::make_unique<SharedExchange>(region_.get(), r, spin_));
      uint8_t* arena = exchanges_[r]->arena().data();
      std::vector<RegisterRef>& registers = registers_.emplace_back();
      for (int i = 0; i < plan_.registers_size(); ++i) {
        const v1::Register& reg = plan_.registers(i);
        const bool split = reg.layout().parts_size() > 0;
        const int64_t cols =
            split ? reg.layout().parts(r).end() - reg.layout().parts(r).begin() : reg.cols();
        registers.push_back({.base = arena + i * kBytes, .cols = cols, .row_stride = cols});
        if (!SplitsRows(reg.layout())) continue;
        registers.back().row_part = r;
        registers.back().row_parts = ranks;
      }
      actors_.push_back(*MakeActor({plan_, plan_.actors(0), registers_[r], weights_, caches_,
                                    kernels::DetectIsa(), false, r, exchanges_[r].get()}));
    }
  }

  template <class T>
  T* At(int32_t rank, int32_t reg) {
    return reinterpret_cast<T*>(registers_[rank][reg].base);
  }
  // Fires every rank; the bytes that all read of each other.
  uint64_t Fire(int32_t rows) {
    std::vector<std::thread> threads;
    std::vector<kernels::Traffic> traffic(ranks_);
    for (int32_t r = 0; r < ranks_; ++r) {
      threads.emplace_back([&, r] {
        StepContext step;
        step.tokens = rows;
        traffic[r] = actors_[r]->Fire(step);
      });
    }
    uint64_t exchanged = 0;
    for (int32_t r = 0; r < ranks_; ++r) {
      threads[r].join();
      exchanged += traffic[r].read_bytes[static_cast<int>(kernels::TrafficClass::kExchange)];
    }
    return exchanged;
  }

 private:
  static constexpr std::chrono::microseconds spin_{50};
  static constexpr int64_t kBytes = int64_t{1} << 20;  // of each register
  const int32_t ranks_;
  const v1::Plan plan_;
  const std::unique_ptr<SharedRegion> region_;
  std::vector<std::unique_ptr<SharedExchange>> exchanges_;
  const std::vector<const loader::PackedWeight*> weights_;
  const KvCaches caches_;
  std::deque<std::vector<RegisterRef>> registers_;
  std::vector<std::unique_ptr<Actor>> actors_;
};

void FillNormal(float* data, int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < count; ++i) data[i] = normal(random);
}

// Every rank has its columns of the sum that an all-reduce gives: added in the order of ranks.
TEST(ReduceScatterTest, EachRankSumsItsColumnsInRankOrder) {
  constexpr int64_t kCols = 100;
  for (const std::vector<int64_t>& cuts :
       {std::vector<int64_t>{0, 64, 100}, std::vector<int64_t>{0, 1, 67, 100}}) {
    const auto ranks = static_cast<int32_t>(cuts.size()) - 1;
    v1::Plan plan;
    AddRegister({}, kCols, &plan);
    AddRegister(cuts, kCols, &plan);
    v1::Actor* actor = plan.add_actors();
    actor->set_kind(v1::REDUCE_SCATTER);
    actor->add_inputs(0);
    actor->add_outputs(1);
    Ranks group(plan, ranks);
    for (int32_t r = 0; r < ranks; ++r) FillNormal(group.At<float>(r, 0), kMaxRows * kCols, r + 1);
    for (int32_t rows : {1, kMaxRows, 3}) {
      const uint64_t exchanged = group.Fire(rows);
      EXPECT_EQ(exchanged, static_cast<uint64_t>(rows * kCols * 4 * (ranks - 1)));
      for (int32_t r = 0; r < ranks; ++r) {
        const int64_t width = cuts[r + 1] - cuts[r];
        for (int64_t i = 0; i < rows * width; ++i) {
          const int64_t at = i / width * kCols + cuts[r] + i % width;
          float want = group.At<float>(0, 0)[at];
          for (int32_t other = 1; other < ranks; ++other) want += group.At<float>(other, 0)[at];
          ASSERT_EQ(group.At<float>(r, 1)[i], want) << "rank " << r << " element " << i;
        }
      }
    }
  }
}

v1::Plan RowsPlan(v1::OperatorKind kind, int split, int64_t cols, int32_t ranks) {
  v1::Plan plan;
  plan.mutable_cluster()->set_ranks(ranks);
  for (int i : {0, 1}) {
    v1::Register* reg = AddRegister({}, cols, &plan);
    if (i == split) reg->mutable_layout()->set_kind(v1::Layout::SPLIT);
  }
  v1::Actor* actor = plan.add_actors();
  actor->set_kind(kind);
  actor->add_inputs(0);
  actor->add_outputs(1);
  return plan;
}

// Rows of each rank, where they lie among all; also where there are fewer than ranks.
TEST(RowExchangeTest, EachRankSumsItsRowsInRankOrder) {
  constexpr int64_t kCols = 37;
  for (int32_t ranks : {2, 3}) {
    Ranks group(RowsPlan(v1::REDUCE_SCATTER, 1, kCols, ranks), ranks);
    for (int32_t r = 0; r < ranks; ++r) FillNormal(group.At<float>(r, 0), kMaxRows * kCols, r + 1);
    for (int32_t rows : {kMaxRows, 7, 2, 1}) {
      EXPECT_EQ(group.Fire(rows), static_cast<uint64_t>(rows * kCols * 4 * (ranks - 1)));
      for (int32_t row = 0; row < rows; ++row) {
        int32_t owner = 0;
        while (row >= rows * (owner + 1) / ranks) ++owner;
        for (int64_t at = row * kCols; at < (row + 1) * kCols; ++at) {
          float want = group.At<float>(0, 0)[at];
          for (int32_t other = 1; other < ranks; ++other) want += group.At<float>(other, 0)[at];
          ASSERT_EQ(group.At<float>(owner, 1)[at], want) << "row " << row << " of " << rows;
        }
      }
    }
  }
}

TEST(RowExchangeTest, AllRanksHaveEachOnesRows) {
  constexpr int64_t kCols = 5;
  constexpr int32_t kRanks = 3;
  Ranks group(RowsPlan(v1::ALL_GATHER, 0, kCols, kRanks), kRanks);
  for (int32_t rows : {kMaxRows, 7, 2, 1}) {
    for (int32_t r = 0; r < kRanks; ++r) {
      for (int64_t i = 0; i < kMaxRows * kCols; ++i) {
        const bool own = i / kCols >= rows * r / kRanks && i / kCols < rows * (r + 1) / kRanks;
        group.At<int32_t>(r, 0)[i] = static_cast<int32_t>(own ? i : -1);
        group.At<int32_t>(r, 1)[i] = -2;
      }
    }
    EXPECT_EQ(group.Fire(rows), static_cast<uint64_t>(rows * kCols * 4 * (kRanks - 1)));
    for (int32_t r = 0; r < kRanks; ++r) {
      for (int64_t i = 0; i < kMaxRows * kCols; ++i) {
        ASSERT_EQ(group.At<int32_t>(r, 1)[i], i < rows * kCols ? i : -2) << "rank " << r;
      }
    }
  }
}

// Rank 1 has one key, the others have three candidates each; all ranks get the same list.
TEST(CandidateMergeTest, AllRanksHaveTheBestOfAll) {
  v1::Plan plan;
  const std::vector<int64_t> cuts = {0, 6, 8, 14};
  AddRegister(cuts, 6, &plan)->set_type(v1::I32);
  AddRegister(cuts, 6, &plan);
  AddRegister({}, 6, &plan)->set_type(v1::I32);
  AddRegister({}, 6, &plan);
  v1::Actor* actor = plan.add_actors();
  actor->set_kind(v1::PRODUCT_KEY_MERGE);
  for (int i : {0, 1}) actor->add_inputs(i);
  for (int i : {2, 3}) actor->add_outputs(i);
  for (int i : {-1, -1}) actor->add_weights(i);
  v1::Attributes::Merge* merge = actor->mutable_attributes()->mutable_merge();
  merge->set_heads(1);
  merge->set_rank(1);
  merge->set_top_k(3);
  Ranks group(plan, 3);
  // Rows, then columns; keys 0-4 on rank 0, 5 on rank 1, 6-9 on rank 2.
  const std::vector<std::vector<int32_t>> index = {{4, 0, 1, 3, 2, 0}, {5, 5}, {6, 8, 9, 9, 7, 6}};
  const std::vector<std::vector<float>> score = {{5, 4, 1, 9, 8, 7}, {4, 1}, {4, 4, 3, 8, 8, 2}};
  for (int32_t r = 0; r < 3; ++r) {
    for (int token : {0, 1}) {
      const size_t n = index[r].size();
      std::memcpy(group.At<int32_t>(r, 0) + token * n, index[r].data(), n * 4);
      std::memcpy(group.At<float>(r, 1) + token * n, score[r].data(), n * 4);
    }
  }
  group.Fire(2);
  for (int32_t r = 0; r < 3; ++r) {
    for (int token : {0, 1}) {
      const int32_t* i = group.At<int32_t>(r, 2) + token * 6;
      EXPECT_EQ(std::vector<int32_t>(i, i + 6), (std::vector<int32_t>{4, 0, 5, 3, 2, 9}));
      const float* s = group.At<float>(r, 3) + token * 6;
      EXPECT_EQ(std::vector<float>(s, s + 6), (std::vector<float>{5, 4, 4, 9, 8, 8}));
    }
  }
}

// A weight of three chunks, of each of which the rank has columns [5, 12) of 20: in the whole one's
// memory, or by themselves: the same bits, and what the columns give together.
TEST(ChunkedLinearTest, SumsTheChunksWhereverTheyLie) {
  constexpr int64_t kOut = 9;
  constexpr int64_t kRows = 5;
  std::vector<float> whole(kOut * 60);
  FillNormal(whole.data(), kOut * 60, 1);
  std::vector<float> own;
  for (int64_t o = 0; o < kOut; ++o) {
    for (int64_t c = 0; c < 3; ++c) {
      own.insert(own.end(), &whole[o * 60 + c * 20 + 5], &whole[o * 60 + c * 20 + 12]);
    }
  }
  std::vector<float> x(kRows * 21);
  FillNormal(x.data(), kRows * 21, 2);
  v1::Plan plan;
  plan.mutable_limits()->set_max_tokens(kRows);
  v1::Weight* w = plan.add_weights();
  w->mutable_layout()->set_kind(v1::Layout::SPLIT);
  w->mutable_layout()->set_axis(1);
  w->mutable_layout()->set_chunks(3);
  v1::Actor* actor = plan.add_actors();
  actor->set_kind(v1::LINEAR);
  actor->add_inputs(0);
  actor->add_outputs(1);
  actor->add_weights(0);
  actor->add_weights(-1);
  actor->mutable_attributes()->mutable_linear()->set_scale(1);
  w->set_type(v1::F32);
  std::vector<std::vector<float>> results;
  for (const bool among_others : {true, false}) {
    loader::PackedWeight part;
    part.view = {among_others ? whole.data() + 5 : own.data(), kernels::DType::kF32, kOut, 21,
                 among_others ? 60 : 21};
    part.chunk_stride = among_others ? 20 : 0;
    std::vector<float>& y = results.emplace_back(kRows * kOut);
    const std::vector<RegisterRef> registers = {
        {.base = reinterpret_cast<uint8_t*>(x.data()), .cols = 21, .row_stride = 21},
        {.base = reinterpret_cast<uint8_t*>(y.data()), .cols = kOut, .row_stride = kOut}};
    const std::vector<const loader::PackedWeight*> weights = {&part};
    const auto made =
        MakeActor({plan, *actor, registers, weights, {}, kernels::DetectIsa(), false, 0, nullptr});
    ASSERT_TRUE(made.ok()) << made.status();
    const auto scratch =
        *kernels::Buffer::Allocate((*made)->ScratchBytes(), kernels::Pages::kNormal);
    StepContext step;
    step.tokens = kRows;
    step.scratch = scratch.data();
    (*made)->Fire(step);
  }
  EXPECT_EQ(results[0], results[1]);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t o = 0; o < kOut; ++o) {
      double want = 0;
      for (int64_t i = 0; i < 21; ++i) want += double{x[r * 21 + i]} * own[o * 21 + i];
      EXPECT_NEAR(results[0][r * kOut + o], want, 1e-4);
    }
  }
}

}  // namespace
}  // namespace mneme::runtime
