"""Metadata of the distribution; tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = (HERE / "ngpu/__init__.py").read_text().split('__version__ = "')[1].split('"')[0]

PACKAGES = [
    str(folder).replace("/", ".")
    for folder in sorted({init.parent.relative_to(HERE) for init in (HERE / "ngpu").rglob("__init__.py")})
]

OTEL = ["opentelemetry-sdk>=1.30", "opentelemetry-exporter-otlp-proto-http>=1.30"]

setup(
    name="ngpu",
    version=VERSION,
    description="A plugin-based reverse-proxy appliance for fleets of GPU machines",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    package_dir={"": "."},
    # ngpu/plugins is a symlink to plugins/; twisted.plugins has no __init__.py of its own, on purpose.
    packages=[*PACKAGES, *(["ngpu.plugins"] if "ngpu.plugins" not in PACKAGES else []), "twisted.plugins"],
    install_requires=[
        "twisted[tls]>=24.11",
        "treq>=24.9",
        "klein>=24.8",
        "txredisapi>=1.6",
        "hiredis>=3",
        "pyyaml>=6",
        "docker>=7.1",
        "requests>=2.32.2",
        "urllib3>=2.2",
        "zope.interface>=7",
        "pydantic>=2.9",
        "httptools>=0.6.4",
        "h2>=4.2,<5",  # http.server.h2.frames looks inside
        "httpx>=0.27",
        "click>=8.1",
        "rich>=13.9",
        "prometheus_client>=0.26",
        "btclib>=2023.7.12",
        "ijson>=3.3",
        "tzdata",
    ],
    # documents and a picture of docs/, seen through symlinks, among the pages
    package_data={
        "ngpu": ["py.typed"],
        "ngpu.http.dashboard": ["built/*"],
        "ngpu.http.pages": ["*.yaml", "static/*"],
    },
    extras_require={
        "demo": ["pillow>=11"],
        "otel": OTEL,
        "docs": ["sphinx>=8.2", "myst-parser>=4", "furo>=2024.8.6"],
        "bench": ["aiohttp>=3.10", "fastapi>=0.115", "httpx>=0.27", "starlette>=0.40", "uvicorn>=0.30"],
        "dev": [
            *OTEL,
            "pillow>=11",
            "axe-playwright-python>=0.1.4",
            "playwright>=1.50",
            "pytest>=8",
            "pytest-twisted>=1.14",
            "pytest-xdist>=3.8",
            "hypothesis>=6",
            "schemathesis>=4",
            "cog>=0.23",
            "gradio-client>=2",
            "httpx-sse>=0.4",
            "openai>=1.60",
            "starlette>=0.40",
            "uvicorn>=0.30",
            "websockets>=14",
            "jsonschema>=4.18",
            "openapi-spec-validator>=0.7.1",
            "ruff>=0.8",
            "mypy>=1.13",
            "mypy-zope>=1.0.9",
            "types-PyYAML",
            "types-requests",
            "setuptools>=77",
            "packaging>=24",
            "shiv>=1.0.8",
        ],
    },
    entry_points={"console_scripts": ["ngpu = ngpu.cli:main"]},
    zip_safe=False,
)
