// What a conversion copies beside its shards is served too: tokenizer, defaults of generation.
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/native/convert.h"

namespace mneme::loader {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ReadText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST(CopiesTest, OneThatIsGoneOrOfAnotherSizeIsRefused) {
  const std::string out = testing::TempDir() + "/converted";
  fs::remove_all(out);
  ASSERT_TRUE(ConvertCheckpoint(InspectCheckpoint("models/demo/olmoe").value(), out, {}, {}).ok());
  ASSERT_TRUE(InspectCheckpoint(out).ok()) << InspectCheckpoint(out).status();
  for (const char* name : {"tokenizer.json", "generation_config.json"}) {
    const std::string path = out + "/" + name;
    const std::string text = ReadText(path);
    std::ofstream(path, std::ios::binary) << text << " ";
    EXPECT_EQ(std::string(InspectCheckpoint(out).status().message()),
              path + ": has " + std::to_string(text.size() + 1) +
                  " bytes, the one that was converted had " + std::to_string(text.size()));
    fs::remove(path);
    EXPECT_THAT(std::string(InspectCheckpoint(out).status().message()),
                AllOf(StartsWith(path), HasSubstr("manifest.json lists it with ")));
    std::ofstream(path, std::ios::binary) << text;
    EXPECT_TRUE(InspectCheckpoint(out).ok());
  }
}

}  // namespace
}  // namespace mneme::loader
