"""How bright each image is, so that `curate` can tell where light gives a class away. Images of before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("image", sa.Column("brightness", sa.Float(), nullable=True))
