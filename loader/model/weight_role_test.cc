#include "loader/model/weight_role.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

TEST(WeightRoleTest, NamesSayWhereAWeightStands) {
  EXPECT_EQ(WeightName({Role::kEmbedding, -1}), "embedding");
  EXPECT_EQ(WeightName({Role::kQuery, 3}), "block.3.query");
  EXPECT_EQ(WeightName({Role::kMemoryKeys, 0}), "memory.0.keys");
  EXPECT_EQ(WeightName({Role::kMemoryTable, -1}), "memory.table");
  EXPECT_EQ(WeightName({Role::kMemoryTable, 2}), "memory.2.table");
}

TEST(WeightRoleTest, EveryRoleHasItsOwnName) {
  std::set<std::string> names;
  const int count = static_cast<int>(Role::kMemoryOut) + 1;
  for (int role = 0; role < count; ++role) {
    const std::string name = WeightName({static_cast<Role>(role), 7});
    EXPECT_EQ(name.find('?'), std::string::npos) << role;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

TEST(WeightRoleTest, NamesAreReadAsTheyAreWritten) {
  for (int role = 0; role <= static_cast<int>(Role::kSharedGate); ++role) {
    for (const int32_t layer : {-1, 0, 7, 123}) {
      const WeightId id{static_cast<Role>(role), layer};
      const std::string name = WeightName(id);
      const std::optional<WeightId> read = WeightOfName(name);
      ASSERT_TRUE(read.has_value()) << name;
      EXPECT_EQ(WeightName(*read), name);
      EXPECT_EQ(read->role, id.role) << name;
    }
  }
  EXPECT_EQ(WeightOfName("block.3.query"), (WeightId{Role::kQuery, 3}));
  EXPECT_EQ(WeightOfName("memory.12.query"), (WeightId{Role::kMemoryQuery, 12}));
  EXPECT_EQ(WeightOfName("memory.table"), (WeightId{Role::kMemoryTable, -1}));
  EXPECT_EQ(WeightOfName("rope_cos"), (WeightId{Role::kRopeCos, -1}));
  for (const char* name :
       {"", "query", "block.3", "block.3.", "block.03.query", "block.+3.query", "block.-1.query",
        "block.99999999999.query", "block.3query", "block.3.query ", "memory.3.router",
        "embedding.0", "block.3.query.bias.0", "block.", "memory.."}) {
    EXPECT_FALSE(WeightOfName(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace mneme::loader
