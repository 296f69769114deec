#include "loader/tokenizer/token_search.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace mneme::loader::tokenizer_internal {
namespace {

using Found = std::vector<std::tuple<size_t, size_t, int32_t>>;  // begin, size, value

Found FindAll(const TokenSearch& search, std::string_view text) {
  Found found;
  TokenSearch::Scan scan(&search, text);
  for (TokenSearch::Match m; scan.Next(&m);) found.push_back({m.begin, m.size, m.value});
  return found;
}

TokenSearch Search(const std::vector<std::string>& contents) {
  std::vector<TokenSearch::Content> list;
  for (size_t i = 0; i < contents.size(); ++i) {
    list.push_back({contents[i], static_cast<int32_t>(i)});
  }
  return TokenSearch::Build(std::move(list));
}

// Every content at every place.
Found Plainly(const std::vector<std::string>& contents, std::string_view text) {
  Found found;
  for (size_t at = 0; at < text.size();) {
    size_t size = 0;
    int32_t value = -1;
    for (size_t i = 0; i < contents.size(); ++i) {
      if (contents[i].size() > size && text.substr(at, contents[i].size()) == contents[i]) {
        size = contents[i].size();
        value = static_cast<int32_t>(i);
      }
    }
    if (value >= 0) found.push_back({at, size, value});
    at += std::max<size_t>(1, size);
  }
  return found;
}

std::string RandomText(std::mt19937* random, size_t size, uint32_t letters) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text.push_back(static_cast<char>('a' + (*random)() % letters));
  return text;
}

TEST(TokenSearchTest, LeftmostThenLongest) {
  const TokenSearch search = Search({"ab", "abcd", "bc", "ab", "d"});
  EXPECT_FALSE(search.empty());
  EXPECT_EQ(FindAll(search, "xabcdabce"), (Found{{1, 4, 1}, {5, 2, 0}}));
  EXPECT_EQ(FindAll(search, "bcdab"), (Found{{0, 2, 2}, {2, 1, 4}, {3, 2, 0}}));
  EXPECT_EQ(FindAll(search, ""), Found{});
  EXPECT_EQ(FindAll(search, "xyz"), Found{});
}

TEST(TokenSearchTest, NothingIsFoundWithoutContents) {
  EXPECT_TRUE(TokenSearch().empty());
  EXPECT_TRUE(Search({}).empty());
  EXPECT_EQ(FindAll(TokenSearch(), "abc"), Found{});
}

TEST(TokenSearchTest, AnyByteMayBePartOfAContent) {
  const std::string zero(1, '\0');
  EXPECT_EQ(FindAll(Search({"\xFF\x80", zero}), "\xFF\x80" + zero + "\x80"),
            (Found{{0, 2, 0}, {2, 1, 1}}));
}

TEST(TokenSearchTest, FindsWhatAPlainSearchFinds) {
  std::mt19937 random(7);
  for (int round = 0; round < 20000; ++round) {
    const uint32_t letters = 1 + random() % 3;
    std::vector<std::string> contents(1 + random() % 8);
    for (std::string& content : contents) {
      content = RandomText(&random, 1 + random() % 7, letters);
    }
    const std::string text = RandomText(&random, random() % 60, letters + random() % 2);
    ASSERT_EQ(FindAll(Search(contents), text), Plainly(contents, text))
        << text << " " << testing::PrintToString(contents);
  }
}

// Many blocks, and contents that lie across their ends.
TEST(TokenSearchTest, FindsWhatAPlainSearchFindsInLongTexts) {
  std::mt19937 random(8);
  for (int round = 0; round < 20; ++round) {
    std::vector<std::string> contents = {"a", std::string(1 + random() % 9000, 'a') + "b"};
    contents.push_back(RandomText(&random, 1 + random() % 5, 2));
    std::string text(30000 + random() % 70000, 'a');
    for (int i = 0; i < 40; ++i) text[random() % text.size()] = 'b';
    if (round % 2 == 0) contents.erase(contents.begin());
    ASSERT_EQ(FindAll(Search(contents), text), Plainly(contents, text)) << round;
  }
}

// 16 MB that almost spell a content of 4096 bytes everywhere, with and without a short one that is
// found there: 6.5e10 steps for a search that begins anew at each byte.
TEST(TokenSearchTest, IsLinearInTheText) {
  const std::string almost(4095, '=');
  const std::string text(16'000'000, '=');
  const auto start = std::chrono::steady_clock::now();
  const auto count = [&](const TokenSearch& search) {
    TokenSearch::Scan scan(&search, text);
    size_t count = 0;
    for (TokenSearch::Match match; scan.Next(&match);) ++count;
    return count;
  };
  EXPECT_EQ(count(Search({almost + "a"})), 0u);
  EXPECT_EQ(count(Search({almost + "a", "===", "a" + almost})), 5'333'333u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace mneme::loader::tokenizer_internal
