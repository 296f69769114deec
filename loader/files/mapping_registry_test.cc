#include "loader/files/mapping_registry.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/files/mapped_file.h"

namespace mneme::loader {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ResultOf;

constexpr int64_t kPage = 4096;
constexpr char kMessage[] = "cannot be read while the file is mapped";

std::string WriteFile(const std::string& name, int64_t pages) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << std::string(static_cast<size_t>(pages * kPage), 'q');
  return path;
}

uint8_t Read(const uint8_t* byte) { return *const_cast<const volatile uint8_t*>(byte); }

int64_t Messages(const std::string& text) {
  int64_t count = 0;
  for (size_t at = text.find(kMessage); at != std::string::npos; at = text.find(kMessage, at + 1)) {
    ++count;
  }
  return count;
}

// By a signal; sanitizers report and exit instead where they are asked first.
bool Killed(int status) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
#else
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
#endif
}

class MappingRegistryDeathTest : public testing::Test {
 protected:
  void SetUp() override { testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};

TEST(MappingRegistryTest, EntriesComeAndGoWithTheirMappings) {
  const int64_t before = MappingEntries();
  {
    const std::string path = WriteFile("many", 1);
    std::vector<MappedFile> files;
    for (int i = 0; i < 200; ++i) files.push_back(MappedFile::Open(path).value());
    EXPECT_EQ(MappingEntries(), before + 200);
    MappedFile taken = std::move(files[0]);
    files.resize(10);
    EXPECT_EQ(MappingEntries(), before + 10);
    taken = std::move(files[1]);
    files.clear();
    EXPECT_EQ(MappingEntries(), before + 1);
  }
  EXPECT_EQ(MappingEntries(), before);
  EXPECT_EQ(MappedFile::Open(WriteFile("no bytes", 0)).value().bytes().size(), 0u);
  EXPECT_EQ(MappingEntries(), before);
}

// Slots that were given back in any order and are taken again.
TEST_F(MappingRegistryDeathTest, AnEntryInASlotThatWasAnothersIsFound) {
  const auto die = [] {
    ReportMappingFaults();
    const std::string spare = WriteFile("spare", 1);
    std::vector<MappedFile> files;
    for (int i = 0; i < 150; ++i) files.push_back(MappedFile::Open(spare).value());
    for (int i = 0; i < 150; i += 3) files[static_cast<size_t>(i)] = MappedFile();
    const std::string path = WriteFile("again", 8);
    const auto file = MappedFile::Open(path).value();
    for (int i = 0; i < 150; ++i) files.push_back(MappedFile::Open(spare).value());
    if (truncate(path.c_str(), kPage) != 0) _exit(1);
    Read(&file.bytes()[2 * kPage]);
  };
  EXPECT_EXIT(die(), testing::KilledBySignal(SIGBUS), HasSubstr("/again: byte 8192 cannot"));
}

TEST_F(MappingRegistryDeathTest, AFileThatIsCutShortIsNamedOnceByAllWhoReadIt) {
  const auto die = [] {
    ReportMappingFaults();
    ReportMappingFaults();
    const auto other = MappedFile::Open(WriteFile("other", 8)).value();
    const std::string path = WriteFile("cut", 8);
    const auto file = MappedFile::Open(path).value();
    if (truncate(path.c_str(), 3 * kPage) != 0) _exit(1);
    Read(&file.bytes()[2 * kPage]);
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        while (!go.load()) std::this_thread::yield();
        Read(&file.bytes()[5 * kPage + 7]);
      });
    }
    go.store(true);
    for (std::thread& thread : threads) thread.join();
  };
  EXPECT_EXIT(die(), testing::KilledBySignal(SIGBUS),
              AllOf(HasSubstr("mneme: " + testing::TempDir() + "/cut: byte 20487 cannot"),
                    ResultOf(Messages, 1)));
}

TEST_F(MappingRegistryDeathTest, ThePieceOfARangeIsNamedWithItsPlaceInTheFile) {
  const auto die = [] {
    ReportMappingFaults();
    const std::string paths[] = {WriteFile("piece1", 4), WriteFile("piece2", 8)};
    const auto first = OpenFile::Open(paths[0]).value();
    const auto second = OpenFile::Open(paths[1]).value();
    const auto range =
        MappedRange::Map({{&first, kPage, 2 * kPage}, {&second, 3 * kPage, 4 * kPage}}).value();
    if (truncate(paths[1].c_str(), 4 * kPage) != 0) _exit(1);
    Read(&range.bytes()[2 * kPage]);
    Read(&range.bytes()[4 * kPage]);
  };
  EXPECT_EXIT(die(), testing::KilledBySignal(SIGBUS), HasSubstr("/piece2: byte 20480 cannot"));
}

TEST_F(MappingRegistryDeathTest, WhatIsNotEnteredIsLeftToTheDefault) {
  const auto die = [] {
    ReportMappingFaults();
    const std::string path = WriteFile("left", 8);
    const uint8_t* stale = nullptr;
    {
      // An entry that is gone tells nothing, though the memory may be mapped again.
      const auto gone = MappedFile::Open(path).value();
      stale = gone.bytes().data();
    }
    const auto file = OpenFile::Open(path).value();
    void* raw =
        mmap(const_cast<uint8_t*>(stale), 8 * kPage, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (raw != stale || truncate(path.c_str(), kPage) != 0) _exit(1);
    Read(static_cast<const uint8_t*>(raw) + 5 * kPage);
  };
  EXPECT_EXIT(die(), Killed, Not(HasSubstr(kMessage)));
}

TEST_F(MappingRegistryDeathTest, ASignalThatSomebodySendsIsLeftToTheDefault) {
  const auto die = [] {
    ReportMappingFaults();
    const auto file = MappedFile::Open(WriteFile("sent", 8)).value();
    kill(getpid(), SIGBUS);
    _exit(0);
  };
  EXPECT_EXIT(die(), Killed, Not(HasSubstr(kMessage)));
}

TEST_F(MappingRegistryDeathTest, AHandlerThatWasThereBeforeIsAskedAboutOtherFaults) {
  const auto die = [] {
    struct sigaction mine = {};
    mine.sa_handler = [](int) { _exit(42); };
    sigaction(SIGBUS, &mine, nullptr);
    ReportMappingFaults();
    const std::string path = WriteFile("before", 8);
    const auto file = OpenFile::Open(path).value();
    void* raw = mmap(nullptr, 8 * kPage, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (raw == MAP_FAILED || truncate(path.c_str(), kPage) != 0) _exit(1);
    Read(static_cast<const uint8_t*>(raw) + 5 * kPage);
  };
  EXPECT_EXIT(die(), testing::ExitedWithCode(42), Not(HasSubstr(kMessage)));
}

TEST_F(MappingRegistryDeathTest, ItIsNamedWhileOtherThreadsMapAndUnmap) {
  const auto die = [] {
    ReportMappingFaults();
    const std::string path = WriteFile("busy", 8);
    const std::string spare = WriteFile("spare", 8);
    const auto file = MappedFile::Open(path).value();
    std::vector<std::thread> threads;
    std::atomic<int> rounds{0};
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (;;) {
          const auto mapped = MappedFile::Open(spare).value();
          Read(&mapped.bytes()[kPage]);
          rounds.fetch_add(1);
        }
      });
    }
    while (rounds.load() < 100) std::this_thread::yield();
    if (truncate(path.c_str(), kPage) != 0) _exit(1);
    Read(&file.bytes()[6 * kPage]);
  };
  EXPECT_EXIT(die(), testing::KilledBySignal(SIGBUS), HasSubstr("/busy: byte 24576 cannot"));
}

}  // namespace
}  // namespace mneme::loader
