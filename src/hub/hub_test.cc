// Names, lists, choices, hashes and the folders of pulled models; nothing here makes a connection.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "fovea/hub.h"
#include "hub/cache.h"
#include "hub/digest.h"
#include "hub/http.h"
#include "hub/repository.h"
#include "testing/testing.h"

namespace fovea::hub {
namespace {

std::string MessageOf(const std::function<void()>& action, ErrorCode code) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

// FIPS 180-2, appendix B, and `printf abc | git hash-object --stdin`.
TEST(HubDigest, KnownAnswers) {
  EXPECT_EQ(Digest(Digest::Kind::kSha256).Add("abc").Hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Digest(Digest::Kind::kSha1).Add("a").Add("bc").Hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
  const testing::TemporaryFolder folder;
  base::WriteTextFileAtomically(folder.File("x"), "abc");
  EXPECT_EQ(FileSha256(folder.File("x")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(FileGitSha1(folder.File("x")), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
}

TEST(HubNames, OnlyOwnerSlashName) {
  for (const char* name : {"google/vit-base-patch16-224", "a/b", "A_1/b.c-d"}) EXPECT_TRUE(IsRepoName(name)) << name;
  for (const char* name :
       {"", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/.b", ".a/b", "-a/b", "a b/c", "a/b\n", "a\\b/c", "./x"})
    EXPECT_FALSE(IsRepoName(name)) << name;
  EXPECT_FALSE(IsRepoName("a/" + std::string(97, 'b')));
}

TEST(HubNames, EndpointsAreHttpWithoutSecrets) {
  EXPECT_EQ(CheckedEndpoint("https://hub.example:8443/sub/"), "https://hub.example:8443/sub");
  for (const char* bad : {"", "hub.example", "ftp://hub.example", "file:///etc/passwd",
                          "https://user:secret@hub.example", "https://h/?q=1"}) {
    const std::string message = MessageOf([&] { CheckedEndpoint(bad); }, ErrorCode::kInvalidArgument);
    EXPECT_EQ(message.find("secret"), std::string::npos) << message;
  }
  EXPECT_TRUE(IsSafeForSecrets("https://hub.example/x"));
  EXPECT_TRUE(IsSafeForSecrets("http://127.0.0.1:80/x"));
  EXPECT_FALSE(IsSafeForSecrets("http://hub.example/x"));
  EXPECT_FALSE(IsSafeForSecrets("http://localhost.evil.example/"));
}

Listing Parse(const std::string& siblings, const std::string& more = "") {
  return ParseListing("{\"siblings\":[" + siblings + "]" + more + "}", "the test");
}

TEST(HubListing, SizesAndHashes) {
  const std::string sha(64, 'c'), blob(40, 'd');
  const Listing listing =
      Parse("{\"rfilename\":\"a.json\",\"size\":7,\"blobId\":\"" + blob +
                "\"},{\"rfilename\":\"m.safetensors\",\"blobId\":\"" + blob + "\",\"lfs\":{\"sha256\":\"" + sha +
                "\",\"size\":99}},{\"rfilename\":\"n\",\"lfs\":{\"oid\":\"sha256:" + sha +
                "\"}},{\"rfilename\":\".gitattributes\"},{\"rfilename\":\"bare\"}",
            ",\"sha\":\"" + blob + "\"");
  EXPECT_EQ(listing.commit, blob);
  ASSERT_EQ(listing.files.size(), 4u);
  EXPECT_EQ(listing.files[0].size_bytes, 7);
  EXPECT_EQ(listing.files[0].git_sha1, blob);
  EXPECT_EQ(listing.files[1].size_bytes, 99);
  EXPECT_EQ(listing.files[1].sha256, sha);
  EXPECT_EQ(listing.files[1].git_sha1, "");  // the pointer's, not the content's
  EXPECT_EQ(listing.files[2].sha256, sha);
  EXPECT_EQ(listing.files[3].size_bytes, -1);
}

TEST(HubListing, Licences) {
  EXPECT_EQ(Parse("", ",\"cardData\":{\"license\":\"mit\"}").licence, "mit");
  EXPECT_EQ(Parse("", ",\"cardData\":{\"license\":[\"mit\",\"bsd\"]}").licence, "mit, bsd");
  EXPECT_EQ(
      Parse("", ",\"cardData\":{\"license\":\"other\",\"license_name\":\"x\",\"license_link\":\"https://y\"}").licence,
      "other (x, https://y)");
  EXPECT_EQ(Parse("", ",\"tags\":[\"vision\",\"license:apache-2.0\"]").licence, "apache-2.0");
  EXPECT_EQ(Parse("", ",\"cardData\":null,\"tags\":3").licence, "");
}

TEST(HubListing, NamesThatCannotBeTrustedAreRefused) {
  for (const char* name : {"../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "", "a\\\\b", "a\\u0000b", "a\\nb",
                           "a/", "..", "\\u001b[31m"}) {
    const std::string item = std::string("{\"rfilename\":\"config.json\"},{\"rfilename\":\"") + name + "\"}";
    MessageOf([&] { Parse(item); }, ErrorCode::kCorruptData);
  }
  MessageOf([] { Parse("{\"rfilename\":\"" + std::string(300, 'x') + "\"}"); }, ErrorCode::kCorruptData);
  MessageOf([] { Parse("{\"rfilename\":\"x\"},{\"rfilename\":\"x\"}"); }, ErrorCode::kCorruptData);
  MessageOf([] { Parse("{\"rfilename\":7}"); }, ErrorCode::kCorruptData);
  MessageOf([] { Parse("7"); }, ErrorCode::kCorruptData);
  MessageOf([] { ParseListing("[]", "x"); }, ErrorCode::kCorruptData);
  MessageOf([] { ParseListing("{}", "x"); }, ErrorCode::kCorruptData);
  MessageOf([] { ParseListing("<html>", "x"); }, ErrorCode::kCorruptData);
}

std::string Chosen(const std::vector<std::string>& names, const Choice& choice = {}) {
  Listing listing;
  for (const std::string& name : names) listing.files.push_back({.name = name});
  std::vector<std::string> chosen;
  for (const RemoteFile& file : ChooseFiles(listing, choice, "o/n")) chosen.push_back(file.name);
  return base::Join(chosen, " ");
}

TEST(HubChoice, WhatAModelNeedsAndNothingTwice) {
  EXPECT_EQ(Chosen({"model.safetensors", "config.json", "pytorch_model.bin", "tf_model.h5", "tokenizer.json",
                    "tokenizer_config.json", "onnx/model.onnx", "onnx/config.json", "README.md",
                    "open_clip_model.safetensors", "open_clip_config.json", "training_args.bin"}),
            "config.json tokenizer.json tokenizer_config.json README.md open_clip_config.json model.safetensors");
  EXPECT_EQ(
      Chosen({"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
              "consolidated.safetensors", "LICENSE.txt"}),
      "model.safetensors.index.json LICENSE.txt model-00001-of-00002.safetensors model-00002-of-00002.safetensors");
  EXPECT_EQ(Chosen({"open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"}),
            "open_clip_config.json open_clip_model.safetensors");
  EXPECT_EQ(Chosen({"modules.json", "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors",
                    "sentence_bert_config.json", "model.safetensors", "sub/config.json"}),
            "modules.json 1_Pooling/config.json 2_Dense/config.json sentence_bert_config.json "
            "2_Dense/model.safetensors model.safetensors");
  EXPECT_EQ(Chosen({"vocab.txt", "merges.txt", "spiece.model", "chat_template.jinja", "weights.safetensors"}),
            "vocab.txt merges.txt spiece.model chat_template.jinja weights.safetensors");
}

TEST(HubChoice, PicklesOnlyWhenAllowed) {
  const std::vector<std::string> names = {"config.json", "pytorch_model.bin", "optimizer.pt"};
  const std::string message = MessageOf([&] { Chosen(names); }, ErrorCode::kInvalidArgument);
  EXPECT_NE(message.find("pickles only"), std::string::npos) << message;
  EXPECT_NE(message.find("--allow-pickle"), std::string::npos) << message;
  EXPECT_EQ(Chosen(names, {.allow_pickle = true}), "config.json pytorch_model.bin");
  EXPECT_EQ(Chosen({"model.safetensors", "pytorch_model.bin"}, {.allow_pickle = true}), "model.safetensors");
  EXPECT_EQ(Chosen(names, {.include = {"*"}}), "config.json");
  MessageOf([&] { Chosen(names, {.include = {"pytorch_model.bin"}}); }, ErrorCode::kInvalidArgument);
  MessageOf([&] { Chosen(names, {.include = {"*.gguf"}}); }, ErrorCode::kNotFound);
  MessageOf([&] { Chosen({"config.json"}); }, ErrorCode::kNotFound);
}

class HubCache : public ::testing::Test {
 protected:
  void TearDown() override {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) ::unsetenv(name);
  }
  testing::TemporaryFolder folder_;
};

TEST_F(HubCache, SnapshotsOfHuggingFacesOwnPrograms) {
  const std::string commit(40, 'e'), root = folder_.File("hub/models--o--n");
  std::filesystem::create_directories(root + "/snapshots/" + commit);
  std::filesystem::create_directories(root + "/refs");
  base::WriteTextFileAtomically(root + "/refs/main", commit);
  base::WriteTextFileAtomically(root + "/snapshots/" + commit + "/config.json", "{}");
  ::setenv("HF_HOME", folder_.path().c_str(), 1);
  EXPECT_EQ(FindInHuggingFaceCache("o/n"), "");  // no weights
  base::WriteTextFileAtomically(folder_.File("blob"), "x");
  std::filesystem::create_symlink(folder_.File("blob"), root + "/snapshots/" + commit + "/model.safetensors");
  EXPECT_EQ(FindInHuggingFaceCache("o/n"), root + "/snapshots/" + commit);
  ::setenv("HF_HUB_CACHE", folder_.File("hub").c_str(), 1);
  ::unsetenv("HF_HOME");
  EXPECT_EQ(FindInHuggingFaceCache("o/n"), root + "/snapshots/" + commit);
  base::WriteTextFileAtomically(root + "/refs/main", "../../../etc");
  EXPECT_EQ(FindInHuggingFaceCache("o/n"), "");
  EXPECT_EQ(FindInHuggingFaceCache("../n"), "");
}

TEST_F(HubCache, RemoveTouchesOnlyItsFolder) {
  const std::string cache = folder_.path();
  MessageOf([&] { RemoveModel("efficientnet-lite2", cache); }, ErrorCode::kInvalidArgument);
  MessageOf([&] { RemoveModel("../..", cache); }, ErrorCode::kInvalidArgument);
  MessageOf([&] { RemoveModel("o/n", cache); }, ErrorCode::kNotFound);
  std::filesystem::create_directories(cache + "/o/n/sub");
  std::filesystem::create_directories(cache + "/o/m");
  base::WriteTextFileAtomically(cache + "/o/n/sub/x", "12345");
  base::WriteTextFileAtomically(cache + "/outside", "kept");
  std::filesystem::create_symlink(cache + "/outside", cache + "/o/n/link");
  const RemovedModel removed = RemoveModel("o/n", cache);
  EXPECT_EQ(removed.files, 1);
  EXPECT_EQ(removed.size_bytes, 5);
  EXPECT_FALSE(std::filesystem::exists(cache + "/o/n"));
  EXPECT_TRUE(std::filesystem::exists(cache + "/o/m"));
  EXPECT_EQ(base::ReadTextFile(cache + "/outside"), "kept");
  std::filesystem::create_directory_symlink(cache + "/o/m", cache + "/o/n");
  RemoveModel("o/n", cache);
  EXPECT_TRUE(std::filesystem::exists(cache + "/o/m"));
  FolderLock lock;
  ASSERT_TRUE(lock.TryLock(PlaceOf("o/m", cache).lock));
  MessageOf([&] { RemoveModel("o/m", cache); }, ErrorCode::kIo);
}

TEST_F(HubCache, OneHolderOfTheLock) {
  const std::string path = folder_.File("lock");
  int64_t inside = 0, most = 0, rounds = 0;
  const auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      FolderLock lock;
      while (!lock.TryLock(path)) std::this_thread::yield();
      most = std::max(most, ++inside);
      ++rounds;
      --inside;
    }
  };
  std::thread a(work), b(work);
  a.join();
  b.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(rounds, 400);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(HubCache, ARecordIsReadBackAndADamagedOneIsNone) {
  const Record record{"o/n", "https://h", "main", "c", "mit", "t", {{{"a/b", 5, "s", "g"}, "\"e\""}}};
  WriteRecord(folder_.path(), record);
  const std::optional<Record> read = ReadRecord(folder_.path());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->licence, "mit");
  ASSERT_NE(read->Find("a/b"), nullptr);
  EXPECT_EQ(read->Find("a/b")->etag, "\"e\"");
  EXPECT_EQ(read->Find("a/b")->remote.size_bytes, 5);
  for (const char* text : {"", "[]", "{\"files\":[7]}", "{\"repo\":7}"}) {
    base::WriteTextFileAtomically(folder_.File(kRecordFile), text);
    EXPECT_FALSE(ReadRecord(folder_.path())) << text;
  }
}

}  // namespace
}  // namespace fovea::hub
