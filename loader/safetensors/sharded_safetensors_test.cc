#include "loader/safetensors/sharded_safetensors.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class ShardedSafetensorsTest : public testing::Test {
 protected:
  ShardedSafetensorsTest() {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  void Shard(const std::string& name, const std::vector<std::string>& tensors) {
    static const float kValues[2] = {1, 2};
    std::vector<StoredTensor> stored;
    for (const std::string& tensor : tensors) {
      StoredTensor& t = stored.emplace_back();
      t.name = tensor;
      t.shape = {2};
      t.bytes = {reinterpret_cast<const uint8_t*>(kValues), sizeof kValues};
    }
    ASSERT_TRUE(WriteSafetensors((folder_ / name).string(), stored, {}).ok());
  }

  void Index(const std::string& weight_map) {
    std::ofstream(folder_ / kIndexFile)
        << R"({"metadata":{"total_size":16},"weight_map":{)" << weight_map << "}}";
  }

  std::string Error() {
    const auto files = ShardedSafetensors::Open(folder_.string());
    return files.ok() ? "" : std::string(files.status().message());
  }

  fs::path folder_;
};

TEST_F(ShardedSafetensorsTest, AllTensorsAreThere) {
  Shard("a.safetensors", {"x", "z"});
  Shard("b.safetensors", {"y"});
  Index(R"("x":"a.safetensors","y":"b.safetensors","z":"a.safetensors")");
  const auto files = ShardedSafetensors::Open(folder_.string());
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ((*files)->tensors().size(), 3u);
  EXPECT_EQ((*files)->tensors().at("y").file, (folder_ / "b.safetensors").string());
  EXPECT_EQ((*files)->file_bytes(), static_cast<int64_t>(fs::file_size(folder_ / "a.safetensors") +
                                                         fs::file_size(folder_ / "b.safetensors")));
  (*files)->DropPages((*files)->tensors().at("y").bytes);
  EXPECT_EQ((*files)->tensors().at("y").bytes[3], 0x3f);  // 1.0f, read again
}

TEST_F(ShardedSafetensorsTest, RefusesPaths) {
  Shard("a.safetensors", {"x"});
  for (const char* path :
       {"../a.safetensors", "/a.safetensors", "sub/a.safetensors", "..", ".", "", "a\\u0000b"}) {
    Index(std::string(R"("x":")") + path + "\"");
    EXPECT_THAT(Error(), AllOf(HasSubstr(kIndexFile), HasSubstr("\"x\""),
                               HasSubstr("is not the plain name of a file")))
        << path;
  }
}

TEST_F(ShardedSafetensorsTest, RefusesALinkOutOfTheFolder) {
  const fs::path outside = folder_ / "outside";
  fs::create_directories(outside);
  Shard("outside/a.safetensors", {"x"});
  fs::create_symlink(outside / "a.safetensors", folder_ / "a.safetensors");
  Index(R"("x":"a.safetensors")");
  EXPECT_THAT(Error(), HasSubstr("lists \"a.safetensors\", a link out of the folder, to \"/"));
  // A cache has its files in one place, the index with them.
  fs::rename(folder_ / kIndexFile, outside / "index");
  fs::create_symlink(outside / "index", folder_ / kIndexFile);
  EXPECT_EQ(Error(), "");
}

TEST_F(ShardedSafetensorsTest, RefusesAMissingFile) {
  Shard("a.safetensors", {"x"});
  Index(R"("x":"a.safetensors","y":"b.safetensors")");
  EXPECT_THAT(Error(), HasSubstr("lists \"b.safetensors\", which cannot be read: No such file"));
}

TEST_F(ShardedSafetensorsTest, RefusesATensorInTwoFiles) {
  Shard("a.safetensors", {"x"});
  Shard("b.safetensors", {"x", "y"});
  Index(R"("x":"a.safetensors","y":"b.safetensors")");
  EXPECT_THAT(Error(), AllOf(HasSubstr("b.safetensors: holds \"x\", which"),
                             HasSubstr("has in \"a.safetensors\"")));
}

TEST_F(ShardedSafetensorsTest, RefusesATensorThatItsFileLacks) {
  Shard("a.safetensors", {"x"});
  Index(R"("x":"a.safetensors","y":"a.safetensors")");
  EXPECT_THAT(Error(), HasSubstr("has \"y\" in \"a.safetensors\", which does not hold it"));
}

TEST_F(ShardedSafetensorsTest, RefusesATensorThatTheIndexLacks) {
  Shard("a.safetensors", {"x", "y"});
  Index(R"("x":"a.safetensors")");
  EXPECT_THAT(Error(),
              AllOf(HasSubstr("a.safetensors: holds \"y\", which"), HasSubstr("does not list")));
}

TEST(SafetensorsIndexTest, RefusesWhatIsNoIndex) {
  const auto error = [](const char* text) {
    const auto places = ParseSafetensorsIndex(text, "i.json");
    return places.ok() ? "" : std::string(places.status().message());
  };
  EXPECT_EQ(error("[]"), "i.json: expected an object");
  EXPECT_EQ(error("{}"), "i.json: weight_map: expected an object from tensor to file");
  EXPECT_EQ(error(R"({"weight_map":{}})"), "i.json: weight_map: is empty");
  EXPECT_EQ(error(R"({"weight_map":{"x":3}})"),
            "i.json: weight_map: \"x\": expected a file's name");
  EXPECT_THAT(error(R"({"weight_map":{"x":"a","x":"b"}})"), HasSubstr("two members named \"x\""));
  EXPECT_THAT(error("{"), HasSubstr("i.json: not JSON"));
}

}  // namespace
}  // namespace mneme::loader
