#include "engine/schedule/event_ring.h"

#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

void Write(EventRing* ring, int32_t token) {
  EventSlot& slot = ring->Begin();
  slot.event.token_id = token;
  slot.text = "t" + std::to_string(token);
  slot.top.push_back(TokenLogprob{token, -1.0f});
  ring->Commit();
}

TEST(EventRingTest, GivesEventsInOrderWithTheirViews) {
  EventRing ring(3, 16, 1);
  OutputEvent event;
  EXPECT_FALSE(ring.Pop(&event));
  for (int32_t token = 0; token < 10; ++token) {
    Write(&ring, token);
    EXPECT_FALSE(ring.drained());
    ASSERT_TRUE(ring.Pop(&event));
    EXPECT_EQ(event.token_id, token);
    EXPECT_EQ(event.text, "t" + std::to_string(token));
    ASSERT_EQ(event.top.size(), 1u);
    EXPECT_EQ(event.top[0].token_id, token);
    EXPECT_TRUE(ring.drained());
  }
}

TEST(EventRingTest, ASlotIsGivenBackByTheNextPopOnly) {
  EventRing ring(2, 16, 0);
  Write(&ring, 1);
  Write(&ring, 2);
  EXPECT_EQ(ring.room(), 0);
  OutputEvent event;
  ASSERT_TRUE(ring.Pop(&event));
  EXPECT_EQ(ring.room(), 0) << "the reader still looks at the first event";
  ASSERT_TRUE(ring.Pop(&event));
  EXPECT_EQ(ring.room(), 1);
  EXPECT_FALSE(ring.Pop(&event));
  EXPECT_EQ(ring.room(), 2);
  EXPECT_EQ(ring.reader_room(), 2);
}

TEST(EventRingTest, ASlotStartsEmptyWhateverItHeld) {
  EventRing ring(1, 16, 1);
  Write(&ring, 1);
  OutputEvent event;
  ring.Pop(&event);
  ring.Pop(&event);
  ring.Begin();
  ring.Commit();
  ASSERT_TRUE(ring.Pop(&event));
  EXPECT_EQ(event.token_id, -1);
  EXPECT_TRUE(event.text.empty());
  EXPECT_TRUE(event.top.empty());
}

TEST(EventRingTest, TwoThreadsPassEverythingThrough) {
  EventRing ring(7, 16, 1);
  constexpr int32_t kEvents = 20000;
  std::thread writer([&ring] {
    for (int32_t token = 0; token < kEvents; ++token) {
      while (ring.room() == 0) std::this_thread::yield();
      Write(&ring, token);
    }
  });
  OutputEvent event;
  for (int32_t token = 0; token < kEvents; ++token) {
    while (!ring.Pop(&event)) std::this_thread::yield();
    ASSERT_EQ(event.token_id, token);
    ASSERT_EQ(event.text, "t" + std::to_string(token));
    ASSERT_EQ(event.top[0].token_id, token);
  }
  writer.join();
}

}  // namespace
}  // namespace mneme::schedule
