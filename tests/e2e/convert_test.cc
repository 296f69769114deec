// `mneme convert` and `mneme inspect --verify` as processes that are killed, stopped and refused
// room.
#include <sys/resource.h>
#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/journal.h"
#include "loader/native/manifest.h"
#include "tests/e2e/process.h"
#include "tests/model/table_checkpoint.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

std::string FreshFolder(const std::string& name) {
  const std::string path = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

std::string Contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Names and inodes: a file that was written again has another.
std::map<std::string, ino_t> Files(const std::string& folder) {
  std::map<std::string, ino_t> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    struct stat status;
    if (stat(entry.path().c_str(), &status) == 0) {
      files[entry.path().filename().string()] = status.st_ino;
    }
  }
  return files;
}

std::map<std::string, ino_t> Shards(const std::string& folder) {
  std::map<std::string, ino_t> files = Files(folder);
  std::erase_if(files, [](const auto& f) { return !f.first.ends_with(".safetensors"); });
  return files;
}

void ExpectSameFolders(const std::string& a, const std::string& b) {
  std::set<std::string> names[2];
  for (const auto& [name, inode] : Files(a)) names[0].insert(name);
  for (const auto& [name, inode] : Files(b)) names[1].insert(name);
  ASSERT_EQ(names[0], names[1]);
  for (const std::string& name : names[0]) {
    // Not EXPECT_EQ, which would print megabytes.
    EXPECT_TRUE(Contents(a + "/" + name) == Contents(b + "/" + name)) << name;
  }
}

// How many shards the journal of a conversion lists; -1 when there is none.
int64_t Finished(const std::string& folder) {
  const std::string path = folder + "/" + loader::kJournalName;
  if (!std::filesystem::exists(path)) return -1;
  const auto journal = loader::Journal::Parse(Contents(path), path);
  EXPECT_TRUE(journal.ok()) << journal.status();
  return journal.ok() ? static_cast<int64_t>(journal->finished.size()) : -1;
}

class ConvertTest : public ::testing::Test {
 protected:
  // 34 MB, which make some twenty shards of 4 MB.
  ConvertTest() : in_(FreshFolder("in")), out_(FreshFolder("out")) {
    EXPECT_TRUE(WriteTableCheckpoint(in_, 300).ok());
  }

  std::vector<std::string> Command(const std::string& out) const {
    return {"convert", in_, out, "--shard-mb", "4"};
  }

  std::string in_;
  std::string out_;
};

TEST_F(ConvertTest, KilledAtRandomMomentsItGivesTheSameBytes) {
  const std::string whole = FreshFolder("whole");
  const Clock::time_point start = Clock::now();
  ASSERT_EQ(Process(Command(whole)).Wait(), 0);
  const auto micros = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
  std::mt19937_64 random(5);
  int killed = 0;
  int resumed = 0;
  for (int round = 0; round < 20; ++round) {
    out_ = FreshFolder("out");
    Process process(Command(out_));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % micros));
    process.Signal(SIGKILL);
    if (process.Wait() == 0) continue;
    ++killed;
    const int64_t finished = Finished(out_);
    const std::map<std::string, ino_t> before = Shards(out_);
    // At most one has its name and is not yet in the journal.
    if (!std::filesystem::exists(out_ + "/" + loader::kManifestName)) {
      EXPECT_LE(static_cast<int64_t>(before.size()), std::max<int64_t>(0, finished) + 1);
    }
    if (finished > 0) ++resumed;
    Process again(Command(out_));
    ASSERT_EQ(again.Wait(), 0) << again.err();
    int64_t redone = 0;
    const std::map<std::string, ino_t> after = Shards(out_);
    for (const auto& [name, inode] : before) redone += after.at(name) != inode ? 1 : 0;
    EXPECT_LE(redone, 1);
    ExpectSameFolders(whole, out_);
  }
  // On whatever machine: most moments are before the end, and some in the middle.
  EXPECT_GE(killed, 10);
  EXPECT_GE(resumed, 3);
  RecordProperty("killed", killed);
  RecordProperty("resumed", resumed);
}

TEST_F(ConvertTest, SignalsStopItAndTheSameCommandGoesOn) {
  const std::string whole = FreshFolder("whole");
  ASSERT_EQ(Process(Command(whole)).Wait(), 0);
  for (const int signal : {SIGINT, SIGTERM}) {
    out_ = FreshFolder("out");
    Process process(Command(out_));
    while (Shards(out_).empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    process.Signal(signal);
    EXPECT_EQ(process.Wait(), 130);
    EXPECT_THAT(process.err(), HasSubstr(out_ + ": stopped; what is finished is kept"));
    EXPECT_GE(Finished(out_), 1);
    for (const auto& [name, inode] : Files(out_)) EXPECT_THAT(name, Not(HasSubstr("partial")));
    Process again(Command(out_));
    EXPECT_EQ(again.Wait(), 0);
    EXPECT_THAT(again.err(), HasSubstr(" shards were finished before"));
    ExpectSameFolders(whole, out_);
  }
}

// A limit on the size of files, which ends a process that does not look for it.
TEST_F(ConvertTest, SaysThatFilesMayNotBeSoLarge) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{1'000'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  Process process(Command(out_));
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.err(),
              ::testing::AllOf(HasSubstr("FAILED_PRECONDITION: " + out_ + "/model-00001-of-"),
                               HasSubstr("File too large (for this process: ulimit -f;")));
  EXPECT_EQ(Finished(out_), 0);
  EXPECT_EQ(Process(Command(out_)).Wait(), 0);
}

TEST_F(ConvertTest, InspectVerifyFindsAFlippedByte) {
  ASSERT_EQ(Process(Command(out_)).Wait(), 0);
  Process good({"inspect", "--verify", out_});
  EXPECT_THAT(good.ReadRest(), ::testing::AllOf(HasSubstr(out_ + ": as it was written: "),
                                                HasSubstr("too little to measure a rate")));
  EXPECT_EQ(good.Wait(), 0);
  const std::string shard = Shards(out_).rbegin()->first;
  {
    std::fstream file(out_ + "/" + shard, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg((2 << 20) + 77);  // in the last block of the table
    const int byte = file.get();
    file.seekp((2 << 20) + 77);
    file.put(static_cast<char>(byte ^ 0x40));
  }
  Process bad({"inspect", "--verify", out_});
  EXPECT_THAT(bad.ReadRest(),
              ::testing::AllOf(HasSubstr(shard + ": tensor \"memory."),
                               HasSubstr(": block 0, bytes [2097152, "), HasSubstr(": checksum "),
                               HasSubstr(out_ + ": 1 difference: ")));
  EXPECT_EQ(bad.Wait(), 1);
  Process json({"inspect", "--json", "--verify", out_});
  EXPECT_THAT(json.ReadRest(), HasSubstr("\"differences\": 1,"));
  EXPECT_EQ(json.Wait(), 1);
}

}  // namespace
}  // namespace mneme::testing
