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

}  // namespace
}  // namespace mneme::loader
