// The memory layers' settings: where layers stand, which are lost, sizes per kind.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/families/olmo_config.h"

namespace mneme::loader {
namespace {

using testing::HasSubstr;

std::string Config(const std::string& kind, const std::map<std::string, std::string>& changes) {
  std::map<std::string, std::string> settings = {
      {"d_model", "64"},      {"n_heads", "4"},   {"n_layers", "6"},         {"rope", "true"},
      {"vocab_size", "256"},  {"mem_knum", "16"}, {"mem_kdim", "32"},        {"mem_vdim", "64"},
      {"mem_pre_vdim", "16"}, {"mem_knn", "8"},   {"eos_token_id", "0"},     {"pad_token_id", "0"},
      {"mem_type", kind},     {"mem_head", "2"},  {"embedding_size", "null"}};
  if (kind == "ultramem_v2") settings["mem_q_for_each_tucker_rank"] = "true";
  for (const auto& [key, value] : changes) settings[key] = value;
  std::string text = "model:\n";
  for (const auto& [key, value] : settings) text += "  " + key + ": " + value + "\n";
  return text;
}

ModelDescription Parse(const std::string& kind, const std::map<std::string, std::string>& changes) {
  const auto config = ParseOlmoConfig(Config(kind, changes), "c.yaml");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->model : ModelDescription{};
}

void ExpectRefused(const std::string& kind, const std::map<std::string, std::string>& changes,
                   const std::string& message) {
  const auto config = ParseOlmoConfig(Config(kind, changes), "c.yaml");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(message));
}

// Which layers of this insert way are lost, as "01…".
std::string Lost(const std::string& insert_way) {
  const ModelDescription model = Parse("ultramem_v2", {{"mem_insert_way", insert_way}});
  std::string lost;
  for (const MemoryPlacement& layer : model.memory->layers) lost += layer.lost ? '1' : '0';
  EXPECT_EQ(model.warnings.size(), static_cast<size_t>(std::count(lost.begin(), lost.end(), '1')));
  return lost;
}

TEST(OlmoMemoryTest, OnePendingOutputIsKept) {
  EXPECT_EQ(Lost("full"), "000000");
  EXPECT_EQ(Lost("0:2/3:4"), "00");
  EXPECT_EQ(Lost("0:2/1:3/3:4"), "110");
  EXPECT_EQ(Lost("0:2/2:3"), "10");  // lost at the very block where it would have been added
  EXPECT_EQ(Lost("0:2/3:3/4:5"), "000");
  EXPECT_EQ(Lost("0:5/1:1"), "10");
  EXPECT_EQ(Lost("3:4/0:3"), "01");  // in the order of blocks, whatever the order of layers
  EXPECT_EQ(Lost("5:5"), "0");
}

TEST(OlmoMemoryTest, LostLayersKeepTheirIndexAndTheirSlots) {
  const ModelDescription model = Parse("ultramem_v2", {{"mem_insert_way", "0:2/2:3"}});
  EXPECT_EQ(model.memory->slots, 2 * 256);
  EXPECT_EQ(model.memory->offset(1), 256);
  ASSERT_EQ(model.warnings.size(), 1u);
  EXPECT_THAT(model.warnings[0], HasSubstr("memory layer 0 (mem_insert_way 0:2) is lost"));
}

TEST(OlmoMemoryTest, ImpossiblePlacementsAreRefused) {
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "\"\""}}, "\"\" is not full, no_mem or a:b");
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "some"}}, "\"some\" is not full");
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "0:1:2"}}, "\"0:1:2\" is not full");
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "0:2/"}}, "\"\" is not full");
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "0:2/0:3"}},
                "two memory layers read at block 0");
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "3:2"}}, "adds the output before it is read");
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "4:6"}}, "outside 0 … 5");
  ExpectRefused("ultramem_v2", {{"mem_insert_way", "-1:2"}}, "outside 0 … 5");
}

TEST(OlmoMemoryTest, WindowsAreWholeSquares) {
  const auto window = [](const std::string& share) {
    return Parse("ultramem_v2", {{"mem_share_ratio", share}}).memory->window;
  };
  // 6 layers of 256 slots: N = 1536.
  EXPECT_EQ(window("1.0"), 39 * 39);
  EXPECT_EQ(window("0.5"), 27 * 27);
  EXPECT_EQ(window("0.3"), 21 * 21);
  EXPECT_EQ(window("0.042"), 8 * 8);  // floor(64.5) = 64
  ExpectRefused("ultramem_v2", {{"mem_share_ratio", "1.5"}}, "1.5 is not in (0, 1]");
  ExpectRefused("ultramem_v2", {{"mem_share_ratio", "0"}}, "0 is not in (0, 1]");
  ExpectRefused("ultramem_v2", {{"mem_share_ratio", "0.0001"}}, "of 1536 slots leaves no window");
}

TEST(OlmoMemoryTest, V2ChecksItsSizes) {
  ExpectRefused("ultramem_v2", {{"mem_q_for_each_tucker_rank", "false"}}, "runs only with true");
  ExpectRefused("ultramem_v2", {{"mem_head", "5"}}, "5 is not in [1, 4]");
  ExpectRefused("ultramem_v2", {{"mem_knn", "40"}}, "40 selections are more than the 39 row keys");
  ExpectRefused("ultramem_v2", {{"mem_knn", "0"}}, "0 is not in [1, ");
  ExpectRefused("ultramem_v2", {{"mem_vdim", "33"}}, "33 is not divisible by the 2 Tucker cores");
  ExpectRefused("ultramem_v2", {{"mem_value_expand_time", "2"}}, "2 is neither 1 nor");
  ExpectRefused("ultramem_v2", {{"mem_value_expand_time", "4"}}, "4 is neither 1 nor");
  ExpectRefused("ultramem_v2", {{"mem_knum", "1048577"}}, "is not in [1, ");
  ExpectRefused("ultramem_v2", {{"mem_knum", "1048576"}}, "slots, more than 2147483647");
  ExpectRefused("ultramem_v2", {{"mem_knum", "18000"}, {"mem_key_expand_time", "2"}},
                "grid points");
  const ModelDescription expanded =
      Parse("ultramem_v2", {{"mem_key_expand_time", "2"}, {"mem_value_expand_time", "4"}});
  EXPECT_EQ(expanded.memory->key_count, 78);
  EXPECT_EQ(expanded.memory->virtual_slots, 4 * expanded.memory->window);
  EXPECT_EQ(expanded.memory->expand_groups, 4);
  EXPECT_EQ(Parse("ultramem_v2", {{"mem_pre_vdim", "0"}}).memory->pre_value_dim, 0);
}

TEST(OlmoMemoryTest, V1IgnoresWhatItDoesNotHave) {
  const ModelDescription model =
      Parse("ultramem_v1",
            {{"mem_pre_vdim", "-7"}, {"mem_share_ratio", "none"}, {"mem_value_expand_time", "9"}});
  const MemoryDescription& memory = *model.memory;
  EXPECT_EQ(memory.pre_value_dim, 0);
  EXPECT_EQ(memory.key_count, 32);
  EXPECT_EQ(memory.slots, 256);
  EXPECT_EQ(memory.window, 256);
  EXPECT_EQ(memory.virtual_slots, 1024);
  EXPECT_EQ(memory.expand_groups, 4);
  EXPECT_EQ(memory.offset(3), 0);
  ExpectRefused("ultramem_v1", {{"mem_head", "3"}}, "3 is not in [1, 2]");
  ExpectRefused("ultramem_v1", {{"mem_knn", "33"}}, "33 selections are more than the 32 row keys");
}

TEST(OlmoMemoryTest, MemoryPlusNeedsValuesAsWideAsTheModel) {
  const ModelDescription model = Parse("memory_plus", {});
  EXPECT_EQ(model.memory->query_chunks, 4);
  EXPECT_EQ(model.memory->key_count, 16);
  EXPECT_EQ(model.memory->virtual_slots, 0);
  ExpectRefused("memory_plus", {{"mem_vdim", "32"}}, "32 is not d_model 64");
  ExpectRefused("memory_plus", {{"mem_knn", "17"}}, "17 selections are more than the 16 row keys");
}

}  // namespace
}  // namespace mneme::loader
