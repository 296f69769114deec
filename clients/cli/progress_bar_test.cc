#include "clients/cli/progress_bar.h"

#include <chrono>
#include <sstream>
#include <string>

#include "gtest/gtest.h"

namespace mneme::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ProgressBarTest, ALogGetsALineNowAndThen) {
  std::ostringstream out;
  const ProgressBar::Clock::time_point start{};
  {
    ProgressBar bar("converting", out, /*terminal=*/false);
    bar.Update(1'000'000'000, 21'000'000'000, start);
    bar.Update(2'000'000'000, 21'000'000'000, start + seconds(9));
    EXPECT_EQ(out.str(), "");
    bar.Update(6'000'000'000, 21'000'000'000, start + seconds(10));
    bar.Update(7'000'000'000, 21'000'000'000, start + seconds(19));
    bar.Update(11'000'000'000, 21'000'000'000, start + seconds(20));
  }
  // The first 1 GB was there before, and counts for nothing.
  EXPECT_EQ(out.str(),
            "converting 28%, 6.00 GB of 21.0 GB, 500.0 MB/s, 30 s left\n"
            "converting 52%, 11.0 GB of 21.0 GB, 500.0 MB/s, 20 s left\n");
}

TEST(ProgressBarTest, ATerminalsLineIsDrawnAgainAndWipedInTheEnd) {
  std::ostringstream out;
  const ProgressBar::Clock::time_point start{};
  {
    ProgressBar bar("checking", out, /*terminal=*/true);
    bar.Update(0, 4000, start);
    EXPECT_EQ(out.str(), "\rchecking [........................] 0%, 0 B of 4.00 kB\x1b[K");
    out.str("");
    bar.Update(1000, 4000, start + milliseconds(199));
    EXPECT_EQ(out.str(), "");
    bar.Update(2000, 4000, start + milliseconds(1000));
    EXPECT_EQ(out.str(),
              "\rchecking [############............] 50%, 2.00 kB of 4.00 kB, 2.00 kB/s, 1 s "
              "left\x1b[K");
    out.str("");
  }
  EXPECT_EQ(out.str(), "\r\x1b[K");
}

TEST(ProgressBarTest, NothingToDoIsNoDivision) {
  std::ostringstream out;
  {
    ProgressBar bar("checking", out, /*terminal=*/true);
    bar.Update(0, 0, {});
  }
  EXPECT_NE(out.str().find("100%"), std::string::npos);
}

TEST(ProgressBarTest, LongTimesAreInMinutesAndHours) {
  const auto left = [](int64_t total) {
    std::ostringstream out;
    ProgressBar bar("x", out, /*terminal=*/false);
    bar.Update(0, total, {});
    bar.Update(10, total, ProgressBar::Clock::time_point{} + seconds(10));
    return out.str().substr(out.str().rfind(',') + 2);
  };
  EXPECT_EQ(left(69), "59 s left\n");
  EXPECT_EQ(left(10 + 185), "3 min 5 s left\n");
  EXPECT_EQ(left(10 + 2 * 3600 + 7 * 60 + 5), "2 h 7 min left\n");
}

TEST(ProgressBarTest, BytesHaveDecimalUnits) {
  EXPECT_EQ(BytesText(0), "0 B");
  EXPECT_EQ(BytesText(999), "999 B");
  EXPECT_EQ(BytesText(1000), "1.00 kB");
  EXPECT_EQ(BytesText(999'960), "1.00 MB");
  EXPECT_EQ(BytesText(20'000'000'000), "20.0 GB");
}

}  // namespace
}  // namespace mneme::cli
