// swift-tools-version:5.9
import PackageDescription

let package = Package(
    name: "DsmClient",
    platforms: [.macOS(.v12), .iOS(.v15)],
    products: [
        .library(name: "DsmClient", targets: ["DsmClient"]),
        .executable(name: "dsm-transcribe", targets: ["dsm-transcribe"]),
    ],
    targets: [
        .target(name: "DsmClient"),
        .executableTarget(name: "dsm-transcribe", dependencies: ["DsmClient"]),
    ]
)
