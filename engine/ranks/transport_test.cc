#include "engine/ranks/transport.h"

#include <unistd.h>

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::ranks {
namespace {

using runtime::ExchangeBlock;

v1::RankSetup SetupOf(v1::RankSetup::Transport transport, int32_t rank) {
  v1::RankSetup setup;
  setup.set_rank(rank);
  setup.mutable_plan()->mutable_cluster()->set_ranks(2);
  setup.mutable_plan()->set_arena_bytes(4096);
  setup.set_transport(transport);
  setup.set_bind_host("127.0.0.1");
  setup.set_exchange_timeout_ms(20'000);
  return setup;
}

// Two ends, through three generations, the second of which is given up.
void ExchangeThroughGenerations(v1::RankSetup::Transport kind) {
  const auto front = *MakeFrontTransport(SetupOf(kind, 0));
  const int fd = front->descriptor();
  EXPECT_EQ(fd >= 0, kind == v1::RankSetup::SHARED_MEMORY);
  const auto rank = *MakeRankTransport(SetupOf(kind, 1), fd < 0 ? -1 : dup(fd));
  const std::vector<ExchangeBlock> all(2, ExchangeBlock{64, 1, 8, 8});
  for (int generation = 1; generation <= 3; ++generation) {
    const Addresses of_rank = *rank->Open();
    const Addresses of_front = *front->Open();
    std::thread other([&] {
      ASSERT_TRUE(rank->Connect({of_front[1], ""}).ok());
      rank->exchange()->arena()[64] = static_cast<uint8_t>(generation);
      EXPECT_EQ(rank->exchange()->Swap(all, all), generation != 2);
    });
    ASSERT_TRUE(front->Connect({"", of_rank[0]}).ok());
    if (generation == 2) {
      while (!rank->exchange()->waiting()) std::this_thread::yield();
      front->exchange()->Abort();
      rank->exchange()->Abort();
    } else {
      EXPECT_TRUE(front->exchange()->Swap(all, all));
      EXPECT_EQ(front->exchange()->ArenaOf(1)[64], generation);
    }
    other.join();
  }
}

TEST(TransportTest, SharedMemory) { ExchangeThroughGenerations(v1::RankSetup::SHARED_MEMORY); }
TEST(TransportTest, Tcp) { ExchangeThroughGenerations(v1::RankSetup::TCP); }

TEST(TransportTest, SharedMemoryThatDidNotComeIsSaid) {
  const auto transport = MakeRankTransport(SetupOf(v1::RankSetup::SHARED_MEMORY, 1), -1);
  EXPECT_EQ(transport.status().message(), "rank 1 got no shared memory from its front");
}

}  // namespace
}  // namespace mneme::ranks
