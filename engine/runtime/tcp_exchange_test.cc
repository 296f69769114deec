#include "engine/runtime/tcp_exchange.h"

#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::runtime {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
constexpr int64_t kArena = 1 << 20;

// Ranks in this process, connected over loopback.
class Ranks {
 public:
  explicit Ranks(int32_t ranks, milliseconds patience = milliseconds(20'000)) {
    for (int32_t r = 0; r < ranks; ++r) {
      exchanges.push_back(*TcpExchange::Create(r, ranks, kArena, "127.0.0.1", patience));
    }
    Reconnect();
  }
  void Reconnect() {
    const size_t ranks = exchanges.size();
    std::vector<std::vector<std::string>> opened;
    for (auto& exchange : exchanges) opened.push_back(*exchange->Open());
    Each([&](TcpExchange& exchange) {
      std::vector<std::string> addresses(ranks);
      for (size_t o = 0; o < ranks; ++o) addresses[o] = opened[o][exchange.rank()];
      const absl::Status status = exchange.Connect(addresses);
      EXPECT_TRUE(status.ok()) << status;
    });
  }
  void Each(const std::function<void(TcpExchange&)>& run) {
    std::vector<std::thread> threads;
    for (auto& exchange : exchanges) threads.emplace_back([&] { run(*exchange); });
    for (std::thread& thread : threads) thread.join();
  }

  std::vector<std::unique_ptr<TcpExchange>> exchanges;
};

// Byte i that `rank` has written in a round.
uint8_t Value(int32_t rank, int round, int64_t i) {
  return static_cast<uint8_t>(rank * 101 + round * 7 + i % 251);
}

// Whole rows, some columns of each, and uneven parts; large and small.
TEST(TcpExchangeTest, BlocksArriveWhereTheyWereTaken) {
  for (int32_t ranks : {2, 3, 4}) {
    Ranks group(ranks);
    group.Each([&](TcpExchange& exchange) {
      const int32_t me = exchange.rank();
      for (int round = 0; round < 30; ++round) {
        // Rank r's rows are 64 + 16 r bytes wide here; others take the columns from byte 8 r on.
        const auto block = [&](int32_t owner, int32_t reader) {
          const int64_t stride = 64 + 16 * owner;
          const int64_t rows = 1 + round * 40;
          return round % 3 == 0
                     ? ExchangeBlock{4096, rows, stride, stride}
                     : ExchangeBlock{4096 + 8 * reader, rows, stride - 8 * reader, stride};
        };
        for (int64_t i = 0; i < 200'000; ++i) exchange.arena()[4096 + i] = Value(me, round, i);
        std::vector<ExchangeBlock> given(ranks);
        std::vector<ExchangeBlock> taken(ranks);
        for (int32_t o = 0; o < ranks; ++o) {
          if (o == me) continue;
          given[o] = block(me, o);
          taken[o] = block(o, me);
        }
        ASSERT_TRUE(exchange.BeginStep());
        ASSERT_TRUE(exchange.Swap(given, taken)) << exchange.failure();
        for (int32_t o = 0; o < ranks; ++o) {
          if (o == me) continue;
          const ExchangeBlock& b = taken[o];
          for (int64_t r = 0; r < b.rows; ++r) {
            for (int64_t c = 0; c < b.row_bytes; ++c) {
              const int64_t at = b.offset + r * b.stride_bytes + c;
              ASSERT_EQ(exchange.ArenaOf(o)[at], Value(o, round, at - 4096)) << o << " " << at;
            }
          }
        }
        ASSERT_TRUE(exchange.Settle());
      }
    });
  }
}

// Only the front takes; the others go on at once and may be steps ahead.
TEST(TcpExchangeTest, WhoTakesNothingMayBeAhead) {
  Ranks group(3);
  group.Each([&](TcpExchange& exchange) {
    for (int round = 0; round < 100; ++round) {
      std::vector<ExchangeBlock> given(3);
      std::vector<ExchangeBlock> taken(3);
      exchange.arena()[0] = Value(exchange.rank(), round, 0);
      for (int32_t o : {1, 2}) {
        if (exchange.rank() == 0) taken[o] = {0, 1, 64, 64};
      }
      if (exchange.rank() > 0) given[0] = {0, 1, 64, 64};
      ASSERT_TRUE(exchange.Swap(given, taken));
      for (int32_t o : {1, 2}) {
        if (exchange.rank() == 0) {
          ASSERT_EQ(exchange.ArenaOf(o)[0], Value(o, round, 0));
        }
      }
    }
  });
}

std::vector<ExchangeBlock> All(int32_t ranks) { return {size_t{1} * ranks, {0, 1, 64, 64}}; }

TEST(TcpExchangeTest, AnAbortEndsAWaitAndANewGenerationWorks) {
  Ranks group(2);
  TcpExchange& waiting = *group.exchanges[0];
  for (int round = 0; round < 10; ++round) {
    std::thread waiter([&] { EXPECT_FALSE(waiting.Swap(All(2), All(2))); });
    if (round % 2 == 0) {
      while (!waiting.waiting()) std::this_thread::yield();
    }
    waiting.Abort();
    waiter.join();
    EXPECT_TRUE(waiting.failed());
    EXPECT_FALSE(waiting.BeginStep());
    group.Reconnect();
    group.Each([&](TcpExchange& exchange) { EXPECT_TRUE(exchange.Swap(All(2), All(2))); });
  }
}

TEST(TcpExchangeTest, APeerThatIsGoneIsAnError) {
  Ranks group(3);
  group.exchanges[2].reset();
  group.exchanges.pop_back();
  group.Each([&](TcpExchange& exchange) {
    EXPECT_FALSE(exchange.Swap(All(3), All(3)));
    EXPECT_TRUE(exchange.failed());
    EXPECT_NE(exchange.failure(), "");
  });
}

TEST(TcpExchangeTest, APeerThatIsSilentIsNotWaitedForLonger) {
  Ranks group(2, milliseconds(200));
  EXPECT_FALSE(group.exchanges[0]->Swap(All(2), All(2)));
  EXPECT_THAT(group.exchanges[0]->failure(), HasSubstr("imed out"));
}

// A rank behind a link that is cut does not come. Gloo lets one of two connect to the other, which
// waits; which one changes with the ports that they happen to get.
TEST(TcpExchangeTest, APeerThatDoesNotConnectIsNotWaitedForLonger) {
  auto one = *TcpExchange::Create(0, 2, kArena, "127.0.0.1", milliseconds(60'000));
  auto other = *TcpExchange::Create(1, 2, kArena, "127.0.0.1", milliseconds(60'000));
  absl::Status status;
  auto begin = std::chrono::steady_clock::now();
  for (int attempt = 0; attempt < 100 && status.ok(); ++attempt) {
    ASSERT_TRUE(one->Open(milliseconds(500)).ok());
    const std::string address = (*other->Open(milliseconds(500)))[0];
    begin = std::chrono::steady_clock::now();
    status = one->Connect({"", address});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 0 cannot reach rank 1"));
}

TEST(TcpExchangeTest, AHostThatIsNotOursIsNamed) {
  const auto exchange =
      TcpExchange::Create(0, 2, kArena, "no.such.host.invalid", milliseconds(1000));
  EXPECT_TRUE(absl::IsUnavailable(exchange.status()));
  EXPECT_THAT(std::string(exchange.status().message()), HasSubstr("'no.such.host.invalid'"));
}

TEST(TcpExchangeTest, WhatIsNoAddressIsRefused) {
  auto exchange = *TcpExchange::Create(0, 2, kArena, "127.0.0.1", milliseconds(1000));
  EXPECT_FALSE(exchange->Connect({"", ""}).ok()) << "not open";
  ASSERT_TRUE(exchange->Open().ok());
  EXPECT_FALSE(exchange->Connect({""}).ok());
  const absl::Status status = exchange->Connect({"", "what"});
  EXPECT_THAT(std::string(status.message()), HasSubstr("rank 1's address for rank 0 has 4 bytes"));
}

}  // namespace
}  // namespace mneme::runtime
