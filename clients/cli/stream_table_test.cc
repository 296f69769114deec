#include "clients/cli/stream_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mneme::cli {
namespace {

using ::testing::HasSubstr;

TEST(HumanBytesTest, HasThreeDigits) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(999), "999 B");
  EXPECT_EQ(HumanBytes(1000), "1.00 kB");
  EXPECT_EQ(HumanBytes(12345), "12.3 kB");
  EXPECT_EQ(HumanBytes(123456), "123 kB");
  EXPECT_EQ(HumanBytes(999999), "1.00 MB");
  EXPECT_EQ(HumanBytes(2.5e15), "2500 TB");
}

TEST(StreamTableTest, DividesBytesAmongOutputTokens) {
  std::vector<StreamRun> runs(2);
  for (StreamRun& run : runs) {
    run.clock.Start();
    run.clock.OnTokens(1);
    run.clock.OnTokens(1);
    run.clock.Stop();
    run.result.usage.set_prompt_tokens(4);
    run.result.usage.set_output_tokens(2);
    v1::Traffic::Class* c = run.result.usage.mutable_traffic()->add_classes();
    c->set_name("keys");
    c->set_read_bytes(2000);
    c->set_written_bytes(20);
  }
  const std::string table = StreamTable(runs, 2.0);
  EXPECT_THAT(table, HasSubstr("8 prompt, 4 output"));
  runs[1].result.usage.set_cached_tokens(3);
  EXPECT_THAT(StreamTable(runs, 2.0), HasSubstr("8 prompt (3 cached), 4 output"));
  EXPECT_THAT(table, HasSubstr("tokens per second        2\n"));
  EXPECT_THAT(table, HasSubstr("  keys                      1.00 kB       10 B\n"));
  EXPECT_THAT(table, HasSubstr("  all                       1.00 kB       10 B\n"));
}

}  // namespace
}  // namespace mneme::cli
